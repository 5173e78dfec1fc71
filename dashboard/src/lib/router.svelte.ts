/** A segment of an address. One that nobody has encoded so (a `%` alone) is taken as it is. */
function decoded(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment;
  }
}

/** The address is the state of the page: its path names the page and the object, its query the filters. */
class Route {
  path = $state(location.pathname);
  search = $state(location.search);

  get segments(): string[] {
    return this.path.split('/').filter(Boolean).map(decoded);
  }

  get query(): URLSearchParams {
    return new URLSearchParams(this.search);
  }

  get(name: string): string {
    return this.query.get(name) ?? '';
  }

  /** Changes parameters of the address. An empty value removes one. */
  set(changes: Record<string, string>): void {
    const query = this.query;
    for (const [name, value] of Object.entries(changes)) {
      if (value) query.set(name, value);
      else query.delete(name);
    }
    const text = query.toString();
    history.replaceState(null, '', this.path + (text ? `?${text}` : ''));
    this.search = location.search;
  }
}

export const route = new Route();

export function go(to: string): void {
  history.pushState(null, '', to);
  read();
  window.scrollTo(0, 0);
}

function read(): void {
  route.path = location.pathname;
  route.search = location.search;
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
