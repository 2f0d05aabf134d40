import { reason } from './errors.ts';

/** What signs requests; those that a cloud gives end after an hour or so. */
export type Keys = {
  accessKeyId: string;
  secretAccessKey: string;
  sessionToken?: string | undefined;
  expiration?: Date | undefined;
};

const RENEW_BEFORE_MS = 5 * 60_000;

/** Keys for the pod's ServiceAccount, of which a cloud's webhook tells in the environment: of a role, or from an agent. */
async function ask(region: string): Promise<Keys> {
  if (process.env.AWS_WEB_IDENTITY_TOKEN_FILE) {
    const { fromTokenFile } = await import('@aws-sdk/credential-provider-web-identity');
    return fromTokenFile({ clientConfig: { region }, roleSessionName: 'techshop-app' })();
  }
  if (process.env.AWS_CONTAINER_CREDENTIALS_FULL_URI) {
    const { fromHttp } = await import('@aws-sdk/credential-provider-http');
    return fromHttp({ timeout: 2_000 })();
  }
  throw new Error(
    'neither AWS_WEB_IDENTITY_TOKEN_FILE nor AWS_CONTAINER_CREDENTIALS_FULL_URI is set: no webhook saw this pod',
  );
}

/** Returns a function that gives the keys of the pod's identity, renewed five minutes before they end. */
export function identityKeys(region: string, askFor = ask): () => Promise<Keys> {
  let keys: Keys | undefined;
  let asking: Promise<Keys> | undefined;
  const left = () => (keys?.expiration ? keys.expiration.getTime() - Date.now() : Number.POSITIVE_INFINITY);
  return async () => {
    if (keys && left() > RENEW_BEFORE_MS) return keys;
    asking ??= askFor(region).finally(() => {
      asking = undefined;
    });
    try {
      keys = await asking;
    } catch (error) {
      // Those of before still open the bucket, and the next request asks again.
      if (!keys || left() <= 0)
        throw new Error(`the cloud gives no keys: ${reason(error)}`, { cause: error });
    }
    return keys;
  };
}
