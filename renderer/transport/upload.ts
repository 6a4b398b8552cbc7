/** @file Files from a browser to the host: it keeps each aside and says where. */
import { z } from 'zod';
import { FettleError } from '../../main/contract/errors.ts';

const Uploaded = z.object({ path: z.string() });
const Refused = z.object({ error: z.object({ message: z.string(), hint: z.string().optional() }) });

/** @param onShare told how much of all files is over, 0 to 1. */
export async function upload(files: readonly File[], onShare: (share: number) => void): Promise<string[]> {
  const total = files.reduce((sum, file) => sum + file.size, 0) || 1;
  const paths: string[] = [];
  let sent = 0;
  for (const file of files) {
    paths.push(await uploadOne(file, (bytes) => onShare((sent + bytes) / total)));
    sent += file.size;
    onShare(sent / total);
  }
  return paths;
}

// fetch cannot tell how far an upload is; XMLHttpRequest can.
function uploadOne(file: File, onBytes: (bytes: number) => void): Promise<string> {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open('POST', `/upload?name=${encodeURIComponent(file.name)}`);
    request.upload.onprogress = (event) => onBytes(event.loaded);
    request.onerror = () =>
      reject(new FettleError('HOST_UNREACHABLE', `${file.name} could not be handed over.`, 'Is Fettle still running?'));
    request.onload = () => {
      const answer = parse(request.responseText);
      const done = Uploaded.safeParse(answer);
      if (request.status < 300 && done.success) return resolve(done.data.path);
      const refused = Refused.safeParse(answer);
      reject(
        new FettleError(
          'FILE_UNREADABLE',
          refused.success ? refused.data.error.message : `${file.name} was not accepted.`,
          refused.success ? refused.data.error.hint : 'Choose it from the folders of this machine instead.',
        ),
      );
    };
    request.send(file);
  });
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
