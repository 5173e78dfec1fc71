import { get } from './api';
import type { Pipeline } from './types';

/** Where gateways listen if no setting says otherwise. */
const USUAL = '0.0.0.0:9000';

/** The address that chargers connect to, from where the running gateways listen. */
class Listeners {
  /** Where they listen, each as `ADDRESS:PORT`; empty while it is not known. */
  found = $state.raw<string[]>([]);

  async load(): Promise<void> {
    try {
      const { processes } = await get<Pipeline>('/api/v1/pipeline');
      this.found = [...new Set(processes.filter((one) => one.state === 'running').flatMap((one) => one.listeners))];
    } catch {
      // The usual address is shown, and said to be that.
    }
  }

  /** The URL without the identity. One that listens on all addresses of its machine is reached under the host of this page. */
  get base(): string {
    const [, address = '', port = ''] = /^(.*):(\d+)$/.exec(this.found[0] ?? USUAL) ?? [];
    const isEvery = /^(0\.0\.0\.0|\[::\])$/.test(address);
    const isHere = /^(127\.|\[::1\])/.test(address) && /^(localhost|127\.|\[?::1)/.test(location.hostname);
    const own = location.hostname.includes(':') && !location.hostname.startsWith('[') ? `[${location.hostname}]` : location.hostname;
    return `ws://${isEvery || isHere ? own : address}:${port}/ocpp`;
  }
}

export const listeners = new Listeners();
