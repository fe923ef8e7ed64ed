/**
 * A real browser: what CHROMIUM names, else Debian's Chromium, rather without its windows (chromium-headless-shell), which takes half
 * the time. Without one its tests are skipped with a word; with CI=true they fail.
 */
import {type Browser, chromium} from 'playwright-core'
import {find} from './machine.ts'

const PATH =
  process.env.CHROMIUM || find('chromium-headless-shell', 'chromium', 'chromium-browser', 'google-chrome')

/** Why there is none, for the option `skip` of a test. */
export const NO_BROWSER =
  PATH === undefined && 'no Chromium: apt-get install chromium-headless-shell, or name one in CHROMIUM'
if (NO_BROWSER && process.env.CI === 'true') throw new Error(NO_BROWSER)

/** Whoever starts it closes it. */
export function startBrowser(): Promise<Browser> {
  return chromium.launch({executablePath: PATH!, args: ['--no-sandbox', '--disable-gpu']})
}
