/** Things that are drawn in one frame. */
const STEP = 100;

/** How many of many things a page draws: some at first and more with each frame, so that none of them takes long. To be made in a component. */
export class Gradually {
  drawn = $state(STEP);

  /** `total` says how many there are. */
  constructor(total: () => number) {
    $effect(() => {
      if (this.drawn >= total()) return;
      const frame = requestAnimationFrame(() => (this.drawn += STEP));
      return () => cancelAnimationFrame(frame);
    });
  }
}
