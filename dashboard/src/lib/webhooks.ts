/** The states of a webhook in words, with the colour of the badge. */
export const STATES: Record<string, [string, string]> = {
  active: ['active', 'good'], retrying: ['failing, tries again', 'bad'], disabled: ['disabled', ''], switched_off: ['switched off', 'bad'],
};

/** What a failure means and what to do, from what the receiver answered. */
export function cureOf(status: number | null | undefined, text: string): string {
  if (status === 401 || status === 403) return 'The receiver refuses the request. Check that it verifies with the secret of this webhook, or give it the new one after a rotation.';
  if (status === 404) return 'The receiver has nothing at this address. Correct the URL.';
  if (status === 410) return 'The receiver wants no more events. Enable the webhook again only if that was an error.';
  if (status === 413) return 'The receiver takes no body of this size. Permit at least 1 MiB.';
  if (status === 429) return 'The receiver is asked too often for its limits. Permit more, or select fewer types of events.';
  if (status && status >= 300 && status < 400) return 'Redirects are not followed. Enter the address to which the receiver redirects.';
  if (status && status >= 500) return 'The receiver has a fault of its own: its log has the cause. Events wait, none is skipped.';
  if (status && status >= 400) return 'The receiver calls the request wrong. Its answer says why.';
  if (/tim(e|ed) ?out|in time|within/i.test(text)) return 'The receiver answers too late. Let it answer first and work afterwards.';
  if (/certificate|tls|ssl/i.test(text)) return 'The certificate of the receiver is not valid for this address.';
  if (/refused/i.test(text)) return 'Nothing listens at this address and port. Start the receiver, or correct the URL.';
  if (/dns|resolve|lookup|name/i.test(text)) return 'The name of the host is not known. Correct the URL, or the DNS of the machine of Wattpost.';
  if (/address|public|network/i.test(text)) return 'The address is not permitted: see the settings webhooks.allow_http and webhooks.allowed_networks.';
  return 'Events wait, and none is skipped as long as they are kept.';
}
