/** The one search field of every page: a job by its id, an exception, a function, a uniqkey. */
import {idOf} from '../jobs/job.ts'
import {checkUniqkey, parseRef} from '../jobs/names.ts'
import {redirect} from './answers.ts'
import {type Asked, pathTo, type Site} from './site.ts'

export async function find(site: Site, {query}: Asked): Promise<Response> {
  const q = query.get('q')?.trim() ?? ''
  const {queue} = site
  if (/^(\d+:)?\d{1,15}$/.test(q)) {
    const ref = parseRef(q, 'q')
    if (await queue.show(ref).catch(() => null)) return redirect(site, `/jobs/${idOf(ref)}`)
  }
  if ((await queue.funcs()).includes(q)) return redirect(site, pathTo('/jobs', {func: q}))
  if (isKey(q) && (await queue.list({uniqkey: q, limit: 1})).length > 0)
    return redirect(site, pathTo('/jobs', {uniqkey: q}))
  return redirect(site, pathTo('/jobs', {q}))
}

function isKey(text: string): boolean {
  try {
    checkUniqkey(text)
    return true
  } catch {
    return false
  }
}
