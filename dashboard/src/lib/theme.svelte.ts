import { MediaQuery } from 'svelte/reactivity';

const NAME = 'theme';
/** What the button chooses after each: the theme of the system, dark, light. */
const NEXT: Record<string, string> = { '': 'dark', dark: 'light', light: '' };

/** The colours of the page: those that a person has chosen, or those of the system, which can change while the page is open. */
class Theme {
  /** `dark`, `light`, or empty for that of the system. */
  chosen = $state(stored());
  readonly #system = new MediaQuery('prefers-color-scheme: dark');

  constructor() {
    this.#show();
  }

  /** Whether the page is dark now. What is drawn with colours of its own is drawn again when it changes. */
  get isDark(): boolean {
    return this.chosen === '' ? this.#system.current : this.chosen === 'dark';
  }

  /** Takes the next theme, and keeps the choice in this browser. */
  readonly next = (): void => {
    this.chosen = NEXT[this.chosen] ?? '';
    this.#show();
    try {
      localStorage.setItem(NAME, this.chosen);
    } catch {
      // The choice lasts as long as the page.
    }
  };

  /** Before anything is drawn again: a canvas reads the colours of the document. */
  #show(): void {
    if (this.chosen) document.documentElement.dataset.theme = this.chosen;
    else delete document.documentElement.dataset.theme;
  }
}

function stored(): string {
  try {
    const found = localStorage.getItem(NAME) ?? '';
    return found in NEXT ? found : '';
  } catch {
    return '';
  }
}

export const theme = new Theme();
