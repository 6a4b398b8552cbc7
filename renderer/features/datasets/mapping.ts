/** @file Which column means what, from what a person wrote. */
export function mappingOf(columns: Readonly<Record<string, string>>): Record<string, string> | null {
  const named = Object.entries(columns).flatMap(([meaning, column]) =>
    column.trim() === '' ? [] : [[meaning, column.trim()] as const],
  );
  return named.length === 0 ? null : Object.fromEntries(named);
}
