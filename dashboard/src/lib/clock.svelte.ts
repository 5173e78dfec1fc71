import { live } from './live.svelte';

/** The present time, which moves once a second: ages are derived from it. */
class Clock {
  /** For what the page shows: it stands still while the page is paused. */
  now = $state(Date.now());
  /** For how fresh that is: it never stands still. */
  real = $state(Date.now());
  constructor() {
    setInterval(() => {
      this.real = Date.now();
      if (live.state !== 'paused') this.now = this.real;
    }, 1000);
  }
}

export const clock = new Clock();
