/** What can be done later, and what each function takes. Checked where jobs are enqueued, and where they are worked. */
export interface Crop {
  from: string
  to: string
  /** Pixels on each side. */
  side: number
}

export interface Thumbnail {
  from: string
  to: string
  width: number
}

export interface Notify {
  /** What is to be told. */
  message: string
}

/** For `JobQueue.open<Functions>()`. An application of its own would rather say so once, in `declare module 'jobq'`. */
export interface Functions {
  Crop: Crop
  Thumbnail: Thumbnail
  Notify: Notify
}
