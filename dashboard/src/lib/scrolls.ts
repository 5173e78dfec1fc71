import type { Attachment } from 'svelte/attachments';

/**
 * Makes what it is attached to a region with this name. While a part of it is out of sight, Tab reaches it: only then can the
 * keyboard scroll it (WCAG 2.1.1). While all of it is in sight, Tab passes it.
 */
export function scrolls(name: string): Attachment<HTMLElement> {
  return (element) => {
    element.role = 'region';
    element.ariaLabel = name;
    const judge = () => {
      const isCut = element.scrollWidth > element.clientWidth || element.scrollHeight > element.clientHeight;
      if (isCut) element.tabIndex = 0;
      // Who is there stays there.
      else if (element !== document.activeElement) element.removeAttribute('tabindex');
    };
    // The size of what is inside changes without that of the element: of each part that comes and goes.
    const sizes = new ResizeObserver(judge);
    sizes.observe(element);
    const inside = () => [...element.children].forEach((child) => sizes.observe(child));
    inside();
    const parts = new MutationObserver(inside);
    parts.observe(element, { childList: true });
    judge();
    return () => {
      sizes.disconnect();
      parts.disconnect();
    };
  };
}
