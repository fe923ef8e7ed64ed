/** What was told of jobs that have left without a word: so many rows are taken away with each call that takes some. */
export const SWEPT_PROGRESS = 100
