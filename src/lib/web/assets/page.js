/**
 * What a page can do with a script: be fetched anew while it is seen and something changes, show times in the reader's zone,
 * show what a job writes as it writes it, take keys. All else it can without.
 */
const root = document.documentElement
const stayed = document.getElementById('live')
/** After a change so long nothing is fetched. */
const REST_MS = 1000

// ---- times

function localTimes() {
  for (const time of document.querySelectorAll('time[datetime]'))
    time.title = new Date(time.dateTime).toLocaleString(undefined, {dateStyle: 'full', timeStyle: 'long'})
}

// ---- live

let stream = null
let isFetching = false

/** The parts of the page that change, each put in the place of the one before; none that is being used. */
async function renew() {
  if (isFetching) return
  isFetching = true
  try {
    const response = await fetch(location.href, {headers: {accept: 'text/html'}})
    if (!response.ok) return
    const fresh = new DOMParser().parseFromString(await response.text(), 'text/html')
    for (const part of document.querySelectorAll('[data-live]')) {
      const next = fresh.getElementById(part.id)
      const isUsed = part.contains(document.activeElement) || part.querySelector('input:checked')
      if (!next || isUsed || next.outerHTML === part.dataset.was) continue
      const {scrollLeft} = part
      const was = next.outerHTML
      part.replaceWith(next)
      next.dataset.was = was
      next.scrollLeft = scrollLeft
    }
    localTimes()
  } catch {
    // out of reach: the next change tells
  } finally {
    setTimeout(() => {
      isFetching = false
    }, REST_MS)
  }
}

function listen() {
  if (document.hidden) {
    stream?.close()
    stream = null
    if (stayed) stayed.hidden = true
    return
  }
  if (stream || !root.dataset.live || !document.querySelector('[data-live]')) return
  stream = new EventSource(root.dataset.live)
  stream.addEventListener('change', renew)
  stream.addEventListener('open', () => {
    if (stayed) stayed.hidden = false
  })
  stream.addEventListener('error', () => {
    if (stayed) stayed.hidden = true
  })
}

setInterval(() => {
  if (!document.hidden && document.querySelector('[data-busy]')) renew()
}, REST_MS)

// ---- what a job writes

/** So much of it stays on the page. */
const MOST_CHARACTERS = 500_000

function follow(place) {
  const note = document.getElementById('output-note')
  let isFirst = true
  const writes = new EventSource(place.dataset.follow)
  const say = text => {
    if (note) note.textContent = text
  }
  writes.addEventListener('output', ({data}) => {
    const {text, isCut} = JSON.parse(data)
    if (isFirst) place.textContent = ''
    isFirst = false
    const isAtEnd = place.scrollTop + place.clientHeight >= place.scrollHeight - 20
    place.append(isCut ? `…\n${text}` : text)
    if (place.textContent.length > MOST_CHARACTERS)
      place.textContent = place.textContent.slice(-MOST_CHARACTERS / 2)
    if (isAtEnd) place.scrollTop = place.scrollHeight
    say('As it is written.')
  })
  writes.addEventListener('attempt', ({data}) => {
    say(`Attempt ${JSON.parse(data).attempt} has ended.`)
    renew()
  })
  writes.addEventListener('mute', () => say('Who runs it does not tell what it writes.'))
  writes.addEventListener('end', ({data}) => {
    writes.close()
    say(`The job has ended: ${JSON.parse(data).outcome}.`)
    setTimeout(renew, REST_MS)
  })
}

const written = document.querySelector('[data-follow]')
if (written) follow(written)

// ---- keys

document.addEventListener('keydown', event => {
  const {target, key, ctrlKey, metaKey, altKey} = event
  if (ctrlKey || metaKey || altKey || target.closest?.('input, select, textarea')) return
  if (key === '/') document.getElementById('find')?.focus()
  else if (key === 'n') document.getElementById('next')?.click()
  else return
  event.preventDefault()
})

localTimes()
listen()
document.addEventListener('visibilitychange', listen)
