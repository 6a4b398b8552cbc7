/** @file The first schema: projects, models, datasets, answers and choices, jobs, runs with their events, comparisons, exports. */

export const initial = `
CREATE TABLE project (
  slug TEXT PRIMARY KEY,
  name TEXT NOT NULL,
  goal TEXT NOT NULL DEFAULT '',
  sample INTEGER NOT NULL DEFAULT 0,
  model TEXT REFERENCES model(id) ON DELETE SET NULL,
  created_at TEXT NOT NULL,
  updated_at TEXT NOT NULL
) STRICT;

CREATE TABLE model (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL,
  -- relative to the home's models folder: a folder, or a folder with one GGUF file
  path TEXT NOT NULL,
  hash TEXT NOT NULL,
  -- contract's Model without id, name, hash, memory and addedAt
  facts TEXT NOT NULL CHECK (json_valid(facts)),
  added_at TEXT NOT NULL
) STRICT;

CREATE TABLE dataset (
  project TEXT NOT NULL REFERENCES project(slug) ON DELETE CASCADE,
  id TEXT NOT NULL,
  name TEXT NOT NULL,
  kind TEXT NOT NULL CHECK (kind IN ('instruction', 'conversation', 'prose')),
  hash TEXT NOT NULL,
  -- contract's Dataset without the columns beside it
  facts TEXT NOT NULL CHECK (json_valid(facts)),
  created_at TEXT NOT NULL,
  PRIMARY KEY (project, id)
) STRICT;

CREATE TABLE answer (
  project TEXT NOT NULL REFERENCES project(slug) ON DELETE CASCADE,
  question TEXT NOT NULL,
  value TEXT NOT NULL,
  PRIMARY KEY (project, question)
) STRICT;

CREATE TABLE choice (
  project TEXT PRIMARY KEY REFERENCES project(slug) ON DELETE CASCADE,
  strategy TEXT NOT NULL CHECK (strategy IN ('instruct', 'non-instruct')),
  reason TEXT NOT NULL,
  advised TEXT NOT NULL,
  at TEXT NOT NULL
) STRICT;

CREATE TABLE job (
  id TEXT PRIMARY KEY,
  kind TEXT NOT NULL,
  project TEXT,
  subject TEXT NOT NULL,
  title TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('queued','starting','running','pausing','paused','stopping','completed','failed','cancelled','interrupted')),
  stage TEXT NOT NULL DEFAULT '',
  progress REAL,
  seconds_left REAL,
  error TEXT CHECK (error IS NULL OR json_valid(error)),
  created_at TEXT NOT NULL,
  started_at TEXT,
  finished_at TEXT
) STRICT;
CREATE INDEX job_by_state ON job (state, created_at);
CREATE INDEX job_by_subject ON job (kind, subject, created_at);

CREATE TABLE run (
  id TEXT PRIMARY KEY,
  project TEXT NOT NULL REFERENCES project(slug) ON DELETE CASCADE,
  number INTEGER NOT NULL,
  model TEXT NOT NULL,
  model_name TEXT NOT NULL,
  model_hash TEXT NOT NULL,
  dataset TEXT NOT NULL,
  dataset_name TEXT NOT NULL,
  dataset_hash TEXT NOT NULL,
  strategy TEXT NOT NULL,
  recipe TEXT NOT NULL CHECK (json_valid(recipe)),
  cloned_from TEXT,
  advice TEXT CHECK (advice IS NULL OR json_valid(advice)),
  choice TEXT CHECK (choice IS NULL OR json_valid(choice)),
  -- the last result, contract's ResultEvent
  result TEXT CHECK (result IS NULL OR json_valid(result)),
  versions TEXT NOT NULL CHECK (json_valid(versions)),
  created_at TEXT NOT NULL,
  UNIQUE (project, number)
) STRICT;

CREATE TABLE run_event (
  run TEXT NOT NULL REFERENCES run(id) ON DELETE CASCADE,
  seq INTEGER NOT NULL,
  at TEXT NOT NULL,
  type TEXT NOT NULL,
  event TEXT NOT NULL CHECK (json_valid(event)),
  PRIMARY KEY (run, seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX run_event_by_type ON run_event (run, type, seq);

CREATE TABLE comparison (
  id TEXT PRIMARY KEY,
  project TEXT NOT NULL REFERENCES project(slug) ON DELETE CASCADE,
  request TEXT NOT NULL CHECK (json_valid(request)),
  result TEXT CHECK (result IS NULL OR json_valid(result)),
  created_at TEXT NOT NULL
) STRICT;

CREATE TABLE export (
  id TEXT PRIMARY KEY,
  project TEXT NOT NULL REFERENCES project(slug) ON DELETE CASCADE,
  run TEXT NOT NULL REFERENCES run(id) ON DELETE CASCADE,
  checkpoint TEXT NOT NULL,
  format TEXT NOT NULL,
  dtype TEXT NOT NULL,
  folder TEXT NOT NULL,
  result TEXT CHECK (result IS NULL OR json_valid(result)),
  created_at TEXT NOT NULL
) STRICT;
`;
