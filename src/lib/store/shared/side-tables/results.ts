/** Results whose time is over: so many are taken away in one transaction. */
export const SWEPT_RESULTS = 500
