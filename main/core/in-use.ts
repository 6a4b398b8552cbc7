/** @file Who is at work on a run, a model or a version of data: nothing is deleted under their feet. */
import type { Job, JobKind } from '../contract/entities.ts';
import { FettleError } from '../contract/errors.ts';
import type { Db, InUse, Jobs, Thing, Work } from './context.ts';

export function createInUse(db: Db, jobs: Jobs): InUse {
  const sources: (() => readonly Work[])[] = [];
  const reads = readsOf(db);
  const atWork = (): Work[] => [
    ...jobs.list({ active: true }).map((job) => ({ title: job.title, reads: reads[job.kind](job) })),
    ...sources.flatMap((source) => source()),
  ];
  return {
    add: (source) => void sources.push(source),
    check(code, name, things) {
      const busy = atWork().find((each) => each.reads.some((thing) => things.includes(thing)));
      if (!busy) return;
      throw new FettleError(
        code,
        `“${busy.title}” is at work on ${name}.`,
        'Stop it first, or wait for its end, then delete. `fettle jobs` lists what is at work.',
      );
    },
  };
}

/** What a job of each kind reads, told by the row of what it is about. */
function readsOf(db: Db): Readonly<Record<JobKind, (job: Job) => Thing[]>> {
  const base = (id: string): Thing => `model:${id}`;
  const version = (project: string, id: string): Thing => `dataset:${project}/${id}`;
  const things = <P extends Record<string, string>>(sql: string): ((parameters: P) => Thing[]) => {
    const select = db.prepare<[P], { thing: Thing }>(sql);
    return (parameters) => select.all(parameters).map(({ thing }) => thing);
  };

  /** Runs by their names or `<name>@<checkpoint>`, those that they stand on and their models; or base models. */
  const namedBy = things<{ names: string }>(`
    WITH RECURSIVE named(id) AS (
      SELECT substr(value, 1, instr(value || '@', '@') - 1) FROM json_each(:names)
    ), stands(id, model, over_run) AS (
      SELECT id, model, over_run FROM run WHERE id IN (SELECT id FROM named)
      UNION SELECT run.id, run.model, run.over_run FROM run JOIN stands ON run.id = stands.over_run
    )
    SELECT 'run:' || id AS thing FROM stands
    UNION SELECT 'model:' || model FROM stands
    UNION SELECT 'model:' || id FROM named WHERE id NOT IN (SELECT id FROM stands)`);
  const targets = (...names: string[]): Thing[] => namedBy({ names: JSON.stringify(names) });
  /** The newest of a project may be any of them while others come in. */
  const versions = things<{ project: string }>(
    `SELECT 'dataset:' || project || '/' || id AS thing FROM dataset WHERE project = :project`,
  );
  const learned = db.prepare<[string], { project: string; dataset: string }>(
    'SELECT project, dataset FROM run WHERE id = ?',
  );
  /** A run with its data; one that was made elsewhere is asked questions of the newest. */
  const run = (id: string): Thing[] => [
    ...targets(id),
    ...learned
      .all(id)
      .flatMap(({ project, dataset }) => (dataset === '' ? versions({ project }) : [version(project, dataset)])),
  ];
  const exported = db.prepare<[string], { run: string }>('SELECT run FROM export WHERE id = ?');
  const pilot = db.prepare<[string], { model: string; project: string }>(
    'SELECT model, project FROM pilot WHERE id = ?',
  );
  const curve = db.prepare<[string], { model: string; project: string; dataset: string }>(
    `SELECT model, project, json_extract(request, '$.dataset') AS dataset FROM curve WHERE id = ?`,
  );
  const calibrated = db.prepare<[string], { model: string; project: string; dataset: string }>(
    'SELECT model, project, dataset FROM calibration WHERE id = ?',
  );
  const compared = db.prepare<[string], { project: string; targets: string; dataset: string | null }>(
    `SELECT project, json_extract(request, '$.targets') AS targets, json_extract(request, '$.dataset') AS dataset
     FROM comparison WHERE id = ?`,
  );
  const answered = db.prepare<[string], { target: string }>(
    `SELECT json_extract(request, '$.target') AS target FROM answer_file WHERE id = ?`,
  );
  const nothing = (): Thing[] => [];

  return {
    train: ({ subject }) => run(subject),
    export: ({ subject }) => exported.all(subject).flatMap((each) => run(each.run)),
    compare: ({ subject }) =>
      compared
        .all(subject)
        .flatMap(({ project, targets: names, dataset }) => [
          ...namedBy({ names }),
          ...(dataset === null ? [] : [version(project, dataset)]),
        ]),
    answer: ({ subject }) => answered.all(subject).flatMap(({ target }) => targets(target)),
    pilot: ({ subject }) => pilot.all(subject).flatMap(({ model, project }) => [base(model), ...versions({ project })]),
    curve: ({ subject }) =>
      curve.all(subject).flatMap(({ model, project, dataset }) => [base(model), version(project, dataset)]),
    calibrate: ({ subject }) =>
      calibrated.all(subject).flatMap(({ model, project, dataset }) => [base(model), version(project, dataset)]),
    // Their subjects are paths: project, versions, model.
    measure({ subject }) {
      const [project = '', pairs = '', prose = '', model = ''] = subject.split('/');
      return [base(model), version(project, pairs), version(project, prose)];
    },
    derive({ subject }) {
      const [project = '', dataset = ''] = subject.split('/');
      return [version(project, dataset)];
    },
    // A version that is deleted ends what looks through it; of its model that is not so.
    tokens: ({ subject }) => [base(subject.split('/')[2] ?? '')],
    inspect: nothing,
    import: nothing,
    model: nothing,
    starter: nothing,
    // Told by `runs/import.ts`: its row comes last.
    adapter: nothing,
    generate: nothing,
  };
}
