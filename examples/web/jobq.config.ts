/** Read by the application and by `jobq work` alike, so that both mean the same queue. */
import {defineConfig} from 'jobq'

export default defineConfig({
  db: process.env.WEB_DB ?? 'data/web.db',
  workersDir: 'workers',
  maxWorkers: 1,
  maxRequestPerChild: 1000,
  funcs: {
    Crop: {maxRetries: 2, retryDelay: 5, grabFor: '1m'},
    Thumbnail: {maxRetries: 2, retryDelay: 5, grabFor: '1m'},
    Notify: {maxRetries: 5, retryDelay: '10s', grabFor: '10s'},
  },
})
