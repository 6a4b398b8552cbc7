/** @file Writes an ONNX model: the graph in one file, its weights in others beside it, group by group, so that no more than one lies in memory. */
import { open, rm, writeFile, type FileHandle } from 'node:fs/promises';
import { basename } from 'node:path';
import { toFettleError } from '../../contract/errors.ts';
import { writeAt } from '../write-at.ts';
import { externalTensorProto, modelBytes, type ElementType } from './build.ts';

export interface TensorToWrite {
  readonly name: string;
  readonly type: ElementType;
  readonly dims: readonly number[];
}
/** Tensors that are made together: numbers in few bits and their scales. */
export interface TensorGroup {
  readonly tensors: readonly TensorToWrite[];
  /** The bytes of each, in order. */
  read(): Promise<readonly Uint8Array[]>;
}

/** Each file of weights holds at most this many bytes, unless a single tensor is larger: browsers hold no more in one piece. */
const FILE_BYTES = 2e9;
/** Where a tensor may begin, so that a file mapped into memory gives it whole pages. */
const ALIGNMENT = 4096;
const BYTES: Readonly<Record<ElementType, number>> = { float32: 4, float16: 2, int64: 8, int8: 1, uint8: 1 };

export const bytesOf = ({ type, dims }: TensorToWrite): number => dims.reduce((a, b) => a * b, BYTES[type]);

/** Names as transformers.js looks for them: model.onnx_data, model.onnx_data_1, ... */
const dataFile = (path: string, index: number): string => `${path}_data${index === 0 ? '' : `_${index}`}`;

/**
 * @param onTensor called before each group with the share of bytes that is written, 0 to 1; may throw to give up.
 * @returns how many files of weights there are. @throws DISK_FULL and what a `read` throws; then none of the files is left.
 */
export async function writeOnnx(
  path: string,
  graph: Omit<Parameters<typeof modelBytes>[0], 'name'>,
  groups: readonly TensorGroup[],
  {
    fileBytes = FILE_BYTES,
    onTensor = () => undefined,
  }: { readonly fileBytes?: number; readonly onTensor?: (share: number) => void } = {},
): Promise<number> {
  const placed = place(groups, fileBytes);
  const external = placed.flatMap(({ tensors }) =>
    tensors.map(({ tensor: { name, type, dims }, file, offset, length }) =>
      externalTensorProto(name, type, dims, { location: basename(dataFile(path, file)), offset, length }),
    ),
  );
  const total = placed.flatMap(({ tensors }) => tensors).reduce((sum, { length }) => sum + length, 0);
  const files: FileHandle[] = [];
  try {
    await writeFile(path, modelBytes({ ...graph, name: 'model', constants: [...graph.constants, ...external] }));
    let written = 0;
    for (const { group, tensors } of placed) {
      onTensor(written / total);
      const pieces = await group.read();
      for (const [i, { file, offset, length }] of tensors.entries()) {
        const bytes = pieces[i]!;
        if (bytes.length !== length)
          throw new TypeError(`${group.tensors[i]!.name} has ${bytes.length} bytes in place of ${length}`);
        files[file] ??= await open(dataFile(path, file), 'wx');
        await writeAt(files[file], bytes, offset);
        written += length;
      }
    }
    for (const file of files) await file.sync();
    for (const file of files) await file.close();
    return files.length;
  } catch (error) {
    for (const [i, file] of files.entries()) {
      await file.close().catch(() => undefined);
      await rm(dataFile(path, i), { force: true });
    }
    await rm(path, { force: true });
    throw toFettleError(error);
  }
}

interface Placed {
  readonly group: TensorGroup;
  readonly tensors: readonly {
    readonly tensor: TensorToWrite;
    readonly file: number;
    readonly offset: number;
    readonly length: number;
  }[];
}

function place(groups: readonly TensorGroup[], fileBytes: number): Placed[] {
  let [file, end] = [0, 0];
  return groups.map((group) => ({
    group,
    tensors: group.tensors.map((tensor) => {
      const length = bytesOf(tensor);
      let offset = Math.ceil(end / ALIGNMENT) * ALIGNMENT;
      if (offset > 0 && offset + length > fileBytes) {
        file++;
        offset = 0;
      }
      end = offset + length;
      return { tensor, file, offset, length };
    }),
  }));
}
