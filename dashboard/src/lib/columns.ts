import { route } from './router.svelte';

/** A column of a list. The first one of a list is always shown, because it has the link to the row's page. */
export interface Column {
  title: string;
  /** Figures, which stand at the right. */
  num?: boolean;
  /** Shown only after a person has chosen it. */
  extra?: boolean;
}
/** The columns of a list in their order, by the name that the address has. */
export type Columns = Record<string, Column>;

/** Those without the first that are shown while the address names none. */
export function usual(columns: Columns): string[] {
  return Object.keys(columns).slice(1).filter((name) => !columns[name]?.extra);
}

/** Those without the first that are shown now: the ones that the address names, or the usual ones. */
export function chosen(columns: Columns): string[] {
  const named = route.get('columns').split(',');
  const found = Object.keys(columns).slice(1).filter((name) => named.includes(name));
  return found.length ? found : usual(columns);
}

/** The columns of a list in which all rows are of one charger. */
export function ofCharger(columns: Columns): Columns {
  return Object.fromEntries(Object.entries(columns).filter(([name]) => name !== 'charger'));
}
