import { all } from './api';
import { fleet } from './fleet.svelte';
import { Polled } from './polled.svelte';
import type { Site } from './types';

const SITES_MAX = 10_000;
/** No event tells that a site has another name. A long list is read less often. */
const EVERY_MS = 60_000;
const LONG_EVERY_MS = 600_000;
const LONG = 1000;

/** The names of the sites. Settings and addresses have their ids. */
class Sites {
  readonly #polled = new Polled<Map<string, string>>(
    async (signal) => {
      const found = await all<Pick<Site, 'id' | 'name'>>('/api/v1/sites', { fields: 'id,name' }, SITES_MAX, undefined, signal);
      return namesOf(found);
    },
    (names) => ((names?.size ?? 0) > LONG ? LONG_EVERY_MS : EVERY_MS),
  );
  /** Whether a charger has a site: without one, no name is asked for. */
  readonly isUsed = $derived.by(() => {
    void fleet.version;
    for (const charger of fleet.chargers.values()) if (charger.settings?.site) return true;
    return false;
  });

  /** Reads the names again and again. Returns what ends it. */
  watch(): () => void {
    return this.#polled.follow();
  }

  /** What a person reads: its name, with its id if another site has the same name; its id while the name is not known. */
  name(id: string): string {
    return this.#polled.value?.get(id) ?? id;
  }
}

function namesOf(sites: Pick<Site, 'id' | 'name'>[]): Map<string, string> {
  const times = new Map<string, number>();
  for (const { name } of sites) times.set(name, (times.get(name) ?? 0) + 1);
  return new Map(sites.map(({ id, name }) => [id, !name.trim() ? id : times.get(name) === 1 ? name : `${name} (${id})`]));
}

export const sites = new Sites();
