import { address, request, type Query } from './api';

/** The rows of a file at most. `wattpost export` and the API have no such bound. */
export const ROWS_MAX = 200_000;

export type Form = 'csv' | 'ndjson';
export const TYPES: Record<Form, string> = { csv: 'text/csv', ndjson: 'application/x-ndjson' };

/** A filter that the API does not have. */
export interface Only {
  /** The members that a table has as JSON and that `passes` reads; it gets all others as texts. */
  json: string[];
  passes: (item: Record<string, unknown>) => boolean;
}

/** What a page lists, for a file with the same rows. */
export interface Listed {
  /** The name of the file, without its ending. */
  name: string;
  path: string;
  query?: Query;
  /** What the page filters itself. */
  only?: Only;
  /** What the file has in another way than the page. */
  note?: string;
}

export interface Written {
  parts: string[];
  rows: number;
  /** Whether there are more rows than a file has. */
  isCut: boolean;
}

/** All rows of a list in this form, as the API writes them: a page after the other. An error gives up the whole file. */
export async function rowsOf(listed: Listed, form: Form, onRows: (rows: number) => void, signal: AbortSignal, max = ROWS_MAX): Promise<Written> {
  const written: Written = { parts: [], rows: 0, isCut: false };
  let path: string | null = address(listed.path, { ...listed.query, limit: 1000 });
  while (path) {
    const { body, headers }: { body: string; headers: Headers } = await request<string>('GET', path, { headers: { Accept: TYPES[form] }, asText: true, signal });
    const lines: Line[] = form === 'csv' ? table(body, listed.only?.json ?? []) : body.split('\n').filter(Boolean).map((raw) => ({ raw: `${raw}\n`, item: () => JSON.parse(raw) as Record<string, unknown> }));
    // Each page of a table has its header.
    if (form === 'csv') {
      const header = lines.shift();
      if (header && written.parts.length === 0) written.parts.push(header.raw);
    }
    const passing = listed.only ? lines.filter((line) => listed.only?.passes(line.item())) : lines;
    written.parts.push(passing.slice(0, max - written.rows).map((line) => line.raw).join(''));
    path = /<([^>]+)>; rel="next"/.exec(headers.get('link') ?? '')?.[1] ?? null;
    written.isCut = written.rows + passing.length > max || (path !== null && written.rows + passing.length === max);
    written.rows = Math.min(max, written.rows + passing.length);
    onRows(written.rows);
    if (written.isCut) break;
  }
  return written;
}

interface Line {
  /** The row as it was sent, with the end of its line. */
  raw: string;
  item: () => Record<string, unknown>;
}

/** The rows of a table (RFC 4180), the first of which is the header. */
export function table(text: string, json: string[]): Line[] {
  const rows: { raw: string; cells: string[] }[] = [];
  let cells: string[] = [];
  let begin = 0;
  let at = 0;
  while (at < text.length) {
    let cell = '';
    if (text[at] === '"') {
      for (;;) {
        const end = text.indexOf('"', at + 1);
        cell += text.slice(at + 1, end < 0 ? text.length : end);
        at = end < 0 ? text.length : end + 1;
        if (text[at] !== '"') break;
        cell += '"';
      }
    } else {
      const from = at;
      while (at < text.length && text[at] !== ',' && text[at] !== '\n') at += 1;
      cell = text.slice(from, at).replace(/\r$/, '');
    }
    cells.push(cell);
    if (text[at] === '\r') at += 1;
    if (text[at] === ',') {
      at += 1;
      // A comma at the very end of a line has an empty cell after it.
      if (at < text.length && text[at] !== '\n' && text[at] !== '\r') continue;
      cells.push('');
      if (text[at] === '\r') at += 1;
    }
    if (text[at] === '\n' || at >= text.length) {
      at += 1;
      rows.push({ raw: text.slice(begin, at), cells });
      cells = [];
      begin = at;
    }
  }
  const header = rows[0]?.cells ?? [];
  return rows.map(({ raw, cells: own }) => ({
    raw,
    item: () => Object.fromEntries(header.map((member, index) => [member, value(own[index] ?? '', json.includes(member))])),
  }));
}

function value(cell: string, isJson: boolean): unknown {
  if (cell === '') return null;
  return isJson ? JSON.parse(cell) : cell;
}
