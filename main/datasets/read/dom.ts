/** @file HTML and the XML of documents as a tree, with the few members that are used: Node has no types for it. */
import { parseHTML } from 'linkedom';

export interface Element {
  readonly textContent: string | null;
  readonly innerHTML: string;
  getAttribute(name: string): string | null;
  querySelector(selector: string): Element | null;
  querySelectorAll(selector: string): Iterable<Element>;
}
export interface Document extends Omit<Element, 'getAttribute'> {
  readonly body: Element;
}

/** HTML's parser reads the XML that documents are made of, and forgives more. Scripts are never run. */
export const parseDocument = (text: string): Document =>
  parseHTML(text.replace(/^\s*<\?xml[^>]*\?>/, '')).document as unknown as Document;
