/**
 * The pages of `jobq web`, to be mounted into an application: `import {webHandler} from 'jobq/web'`.
 *
 * @module jobq/web
 */
import './jobs/node-version.ts'

export {type WebHandler, webHandler} from './web/handler.ts'
export type {WebOptions} from './web/options.ts'
