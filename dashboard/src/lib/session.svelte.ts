import type { Session } from './types';

const UNKNOWN: Session = { access: 'signed_out', is_user: false, version: '' };
/** The answer is made from memory. One that has not come after so long does not come. */
const ANSWER_WITHIN_MS = 10_000;
const ORDER = ['read', 'operate', 'admin'];

/** Who uses the dashboard, and what they may do. */
class CurrentSession {
  now = $state<Session>(UNKNOWN);
  /** Whether the API has said it yet. */
  known = $state(false);
  /** Why the API cannot be asked. */
  failure = $state<string | null>(null);
  /** Others ask too while there is no answer: only one repetition waits. */
  #retry: ReturnType<typeof setTimeout> | undefined;

  get open(): boolean {
    return this.known && this.now.access !== 'signed_out';
  }

  may(scope: 'read' | 'operate' | 'admin'): boolean {
    return ORDER.indexOf(this.now.scope ?? '') >= ORDER.indexOf(scope);
  }

  async load(): Promise<void> {
    clearTimeout(this.#retry);
    try {
      const answer = await fetch('/api/v1/session', { headers: { Accept: 'application/json' }, signal: AbortSignal.timeout(ANSWER_WITHIN_MS) });
      if (!answer.ok) throw new Error(String(answer.status));
      this.now = (await answer.json()) as Session;
      this.known = true;
      this.failure = null;
    } catch {
      this.failure = 'Wattpost does not answer. This page tries again every 2 seconds.';
      clearTimeout(this.#retry);
      this.#retry = setTimeout(() => void this.load(), 2000);
    }
  }

  /** The API refused a request because nobody is signed in. */
  ended(): void {
    if (this.now.access !== 'signed_out') {
      this.now = { ...UNKNOWN, version: this.now.version };
    }
  }

  /** Signs in with a key, or as a user with a password. Returns why it failed; null if it did not. */
  async signIn(credentials: { key: string } | { user: string; password: string }): Promise<string | null> {
    try {
      const answer = await fetch('/api/v1/session', {
        method: 'POST',
        headers: { 'Content-Type': 'application/json', Accept: 'application/json' },
        body: JSON.stringify(credentials),
      });
      const body = await answer.json();
      if (!answer.ok) {
        return body.code === 'no_key' ? 'This key is not one of this installation, or it was revoked.' : String(body.detail);
      }
      this.now = body as Session;
      this.known = true;
      return null;
    } catch {
      return 'Wattpost does not answer. Try again.';
    }
  }

  async signOut(): Promise<void> {
    const headers: Record<string, string> = this.now.csrf_token ? { 'X-CSRF-Token': this.now.csrf_token } : {};
    await fetch('/api/v1/session', { method: 'DELETE', headers }).catch(() => undefined);
    this.ended();
  }
}

export const session = new CurrentSession();
