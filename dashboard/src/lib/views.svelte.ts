/** A page with its filters and columns, under a name that a person has given. */
export interface View {
  name: string;
  /** The query of the address, as `?status=faulted`. */
  search: string;
}

/** Views of a page at most. */
export const VIEWS_MAX = 30;
const KEY = 'views';

/**
 * The saved views. They are kept in this browser, because they are how one person looks at the pages: a link to a view opens
 * the same rows for everybody else, and needs no account.
 */
class Views {
  #all = $state<Record<string, View[]>>(stored());

  of(path: string): View[] {
    return this.#all[path] ?? [];
  }

  /** Saves a view; one of the same name is replaced. Returns false if there are too many. */
  save(path: string, view: View): boolean {
    const others = this.of(path).filter((one) => one.name !== view.name);
    if (others.length >= VIEWS_MAX) return false;
    this.#store({ ...this.#all, [path]: [...others, view] });
    return true;
  }

  remove(path: string, name: string): void {
    this.#store({ ...this.#all, [path]: this.of(path).filter((one) => one.name !== name) });
  }

  #store(all: Record<string, View[]>): void {
    this.#all = all;
    try {
      localStorage.setItem(KEY, JSON.stringify(all));
    } catch {
      // The views last as long as the page.
    }
  }
}

/** What another version or a person has written there is checked: only views are taken. */
function stored(): Record<string, View[]> {
  try {
    const found: unknown = JSON.parse(localStorage.getItem(KEY) ?? '{}');
    if (typeof found !== 'object' || found === null) return {};
    const isView = (one: unknown): one is View => {
      const view = one as Partial<View> | null;
      return typeof view?.name === 'string' && typeof view.search === 'string' && view.search.startsWith('?');
    };
    return Object.fromEntries(Object.entries(found).map(([path, list]) => [path, Array.isArray(list) ? list.filter(isView).slice(0, VIEWS_MAX) : []]));
  } catch {
    return {};
  }
}

export const views = new Views();
