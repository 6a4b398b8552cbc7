/** @file Talking to models: conversations, files of inputs that are answered, and blind tests. */

export const talk = `
CREATE TABLE chat (
  id TEXT PRIMARY KEY,
  project TEXT NOT NULL REFERENCES project(slug) ON DELETE CASCADE,
  number INTEGER NOT NULL,
  title TEXT NOT NULL,
  targets TEXT NOT NULL CHECK (json_valid(targets)),
  system TEXT NOT NULL,
  sampling TEXT NOT NULL CHECK (json_valid(sampling)),
  updated_at TEXT NOT NULL,
  UNIQUE (project, number)
) STRICT;

CREATE TABLE chat_turn (
  chat TEXT NOT NULL REFERENCES chat(id) ON DELETE CASCADE,
  number INTEGER NOT NULL,
  prompt TEXT NOT NULL,
  at TEXT NOT NULL,
  PRIMARY KEY (chat, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE chat_answer (
  chat TEXT NOT NULL,
  turn INTEGER NOT NULL,
  target TEXT NOT NULL,
  -- in which order they were asked
  place INTEGER NOT NULL,
  label TEXT NOT NULL,
  -- contract's Answer, ChatAnswer.context and ErrorInfo; all null while it is written
  answer TEXT CHECK (answer IS NULL OR json_valid(answer)),
  context TEXT CHECK (context IS NULL OR json_valid(context)),
  error TEXT CHECK (error IS NULL OR json_valid(error)),
  PRIMARY KEY (chat, turn, target),
  FOREIGN KEY (chat, turn) REFERENCES chat_turn(chat, number) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE TABLE answer_file (
  id TEXT PRIMARY KEY,
  number INTEGER NOT NULL UNIQUE,
  project TEXT REFERENCES project(slug) ON DELETE CASCADE,
  request TEXT NOT NULL CHECK (json_valid(request)),
  -- how far it is: rows written, the bytes they take, and what became of them
  progress TEXT NOT NULL CHECK (json_valid(progress)),
  created_at TEXT NOT NULL
) STRICT;

CREATE TABLE blind (
  id TEXT PRIMARY KEY,
  project TEXT NOT NULL REFERENCES project(slug) ON DELETE CASCADE,
  number INTEGER NOT NULL,
  request TEXT NOT NULL CHECK (json_valid(request)),
  created_at TEXT NOT NULL,
  revealed_at TEXT,
  UNIQUE (project, number)
) STRICT;

CREATE TABLE blind_item (
  blind TEXT NOT NULL REFERENCES blind(id) ON DELETE CASCADE,
  number INTEGER NOT NULL,
  -- turns of a conversation, or a text to go on from
  prompt TEXT NOT NULL CHECK (json_valid(prompt)),
  -- which of the two targets, 0 or 1, has the first place
  first INTEGER NOT NULL CHECK (first IN (0, 1)),
  -- answers in the order of the targets
  answers TEXT CHECK (answers IS NULL OR json_valid(answers)),
  vote TEXT CHECK (vote IN ('one', 'two', 'tie')),
  why TEXT NOT NULL DEFAULT '',
  voted_at TEXT,
  PRIMARY KEY (blind, number)
) STRICT, WITHOUT ROWID;
`;
