/** @file Adapters that were made elsewhere as runs, and adapters that travel with their base. */

export const importedAdapters = `
-- contract's Imported; then dataset, dataset_name, dataset_hash and strategy are '' and recipe is '{}': nobody here knows them
ALTER TABLE run ADD COLUMN imported TEXT CHECK (imported IS NULL OR json_valid(imported));
ALTER TABLE export ADD COLUMN with_base INTEGER NOT NULL DEFAULT 0;
`;
