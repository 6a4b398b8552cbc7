/** @file Imported before any schema is made: the page's content security policy lets nobody make code of text, so zod need not try. */
import { z } from 'zod';

z.config({ jitless: true });
