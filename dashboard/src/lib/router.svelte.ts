/** A segment of an address. One that nobody has encoded so (a `%` alone) is taken as it is. */
function decoded(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment;
  }
}

/** The address is the state of the page: its path names the page and the object, its query the filters and the open dialog. */
class Route {
  path = $state(location.pathname);
  /** The query without the dialog: to open one changes no filter, so nothing is read again. */
  search = $state(withoutDialog(location.search));
  /** The open dialog of the page, as `add`, or with what it is about, as `change:04A2B3C4D5`. Empty if none is open. */
  dialog = $state(dialogOf(location.search));

  get segments(): string[] {
    return this.path.split('/').filter(Boolean).map(decoded);
  }

  get query(): URLSearchParams {
    return new URLSearchParams(this.search);
  }

  /** The whole address of now, which follows each change of it. */
  get href(): string {
    void [this.path, this.search, this.dialog];
    return location.href;
  }

  get(name: string): string {
    return this.query.get(name) ?? '';
  }

  /** What the open dialog is about, if it is this one: an empty text for one that names nothing, null if it is another one. */
  about(dialog: string): string | null {
    if (this.dialog === dialog) return '';
    return this.dialog.startsWith(`${dialog}:`) ? this.dialog.slice(dialog.length + 1) : null;
  }

  /** Opens a dialog of the page. */
  ask(dialog: string, about = ''): void {
    this.#write(this.query, about ? `${dialog}:${about}` : dialog, false);
  }

  readonly closeDialog = (): void => {
    if (this.dialog) this.#write(this.query, '', false);
  };

  /**
   * Changes parameters of the address, as a choice of a person does: a tab, a filter. Back returns to what was chosen before.
   * An empty value removes one.
   */
  set(changes: Record<string, string>): void {
    this.#write(this.#changed(changes), this.dialog, true);
  }

  /** As {@link set}, for what changes with each key or row, or by itself: Back does not stop at it. */
  replace(changes: Record<string, string>): void {
    this.#write(this.#changed(changes), this.dialog, false);
  }

  #changed(changes: Record<string, string>): URLSearchParams {
    const query = this.query;
    for (const [name, value] of Object.entries(changes)) {
      if (value) query.set(name, value);
      else query.delete(name);
    }
    return query;
  }

  #write(query: URLSearchParams, dialog: string, isStep: boolean): void {
    const search = query.size ? `?${query}` : '';
    if (search === this.search && dialog === this.dialog) return;
    if (dialog) query.set('dialog', dialog);
    const address = this.path + (query.size ? `?${query}` : '');
    if (isStep) history.pushState(null, '', address);
    else history.replaceState(null, '', address);
    this.search = search;
    this.dialog = dialog;
  }
}

function dialogOf(search: string): string {
  return new URLSearchParams(search).get('dialog') ?? '';
}

function withoutDialog(search: string): string {
  const query = new URLSearchParams(search);
  if (!query.has('dialog')) return search;
  query.delete('dialog');
  return query.size ? `?${query}` : '';
}

export const route = new Route();

export function go(to: string): void {
  history.pushState(null, '', to);
  read();
  window.scrollTo(0, 0);
}

function read(): void {
  route.path = location.pathname;
  route.search = withoutDialog(location.search);
  route.dialog = dialogOf(location.search);
}

/** A path of the dashboard from its segments. */
export function to(...segments: string[]): string {
  return '/' + segments.map(encodeURIComponent).join('/');
}

export function startRouter(): void {
  addEventListener('popstate', read);
  addEventListener('click', (event) => {
    if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    const link = (event.target as Element | null)?.closest?.('a');
    if (!link || link.target || link.hasAttribute('download') || link.origin !== location.origin) return;
    if (/^\/(api|docs|health|metrics)\b/.test(link.pathname)) return;
    if (link.pathname === location.pathname && link.hash) return;
    event.preventDefault();
    go(link.pathname + link.search);
  });
}
