/** A reporter of `node --test`: each test file that failed, on a line of its own. */
export default async function* failedFiles(events) {
  for await (const {type, data} of events)
    if (type === 'test:summary' && data.file && !data.success) yield `${data.file}\n`
}
