import { createHash } from 'node:crypto';
import { tracingChannel } from 'node:diagnostics_channel';
import { once } from 'node:events';
import http, { type IncomingMessage } from 'node:http';
import https from 'node:https';
import { AwsV4Signer } from 'aws4fetch';
import type { Config } from './config.ts';
import { Dependency } from './dependency.ts';
import { Unavailable } from './errors.ts';
import { identityKeys, type Keys } from './identity.ts';
import type { Log } from './log.ts';

type Method = 'GET' | 'HEAD' | 'PUT';
type Content = { body: Buffer; headers: Record<string, string> };

/** What tracing hears of a request; the template is the path of every object. */
export type S3Request = { method: Method; url: URL; bucket: string; template: string };
const channel = tracingChannel<S3Request>('techshop:s3');

export const sha256 = (content: string | Buffer) => createHash('sha256').update(content).digest('hex');

/** A bucket. Bodies are streams: no object is ever in memory as a whole. */
export class S3 {
  readonly health: Dependency;
  private readonly bucket: string;
  private readonly base: URL;
  private readonly region: string;
  private readonly keys: () => Promise<Keys>;
  private readonly agent: http.Agent;
  private readonly silenceMs: number;

  constructor(config: NonNullable<Config['s3']>, log: Log, silenceMs = 10_000) {
    this.silenceMs = silenceMs;
    const { endpoint, bucket, pathStyle, region, keys, ca } = config;
    this.bucket = bucket;
    const folder = endpoint.replace(/\/?$/, '/');
    this.base = new URL(pathStyle ? `${folder}${bucket}/` : folder.replace('://', `://${bucket}.`));
    this.region = region;
    this.keys = keys ? async () => keys : identityKeys(region);
    this.agent =
      this.base.protocol === 'https:'
        ? new https.Agent({ keepAlive: true, ca })
        : new http.Agent({ keepAlive: true });
    this.health = new Dependency('S3', log, () => this.probe());
  }

  /** The object, whose body is to be read or destroyed, or undefined when there is none; HEAD has no body. */
  async get(key: string, method: 'GET' | 'HEAD' = 'GET'): Promise<IncomingMessage | undefined> {
    try {
      return await this.run(method, key);
    } catch (error) {
      if (((error as Error).cause as { code?: unknown } | undefined)?.code === 404) return undefined;
      throw error;
    }
  }

  async put(key: string, content: Content): Promise<void> {
    (await this.run('PUT', key, content)).resume();
  }

  close(): void {
    this.health.stop();
    this.agent.destroy();
  }

  private async probe(): Promise<void> {
    (await this.ask('HEAD', this.base)).resume();
  }

  private async run(method: Method, key: string, content?: Content): Promise<IncomingMessage> {
    this.health.assertUsable();
    const url = new URL(key, this.base);
    const told = { method, url, bucket: this.bucket, template: `${this.base.pathname}{key}` };
    try {
      return await channel.tracePromise(() => this.ask(method, url, content), told);
    } catch (error) {
      throw new Unavailable('S3', error);
    }
  }

  private async ask(method: Method, target: URL, content?: Content): Promise<IncomingMessage> {
    const { accessKeyId, secretAccessKey, sessionToken } = await this.keys();
    const { url, headers } = await new AwsV4Signer({
      accessKeyId,
      secretAccessKey,
      sessionToken,
      region: this.region,
      service: 's3',
      method,
      url: target.href,
      headers: { ...content?.headers, 'x-amz-content-sha256': sha256(content?.body ?? '') },
    }).sign();
    const answer = await this.send(url, method, Object.fromEntries(headers), content?.body);
    const { statusCode: code } = answer;
    if (code === 200) return answer;
    answer.resume();
    throw Object.assign(new Error(`${code} for ${method} ${url.pathname}`), { code });
  }

  // With node's own client: fetch takes no certificates.
  private async send(
    url: URL,
    method: Method,
    headers: http.OutgoingHttpHeaders,
    body?: Buffer,
  ): Promise<IncomingMessage> {
    const { request } = url.protocol === 'https:' ? https : http;
    for (;;) {
      const asked = request(url, { method, headers, agent: this.agent, timeout: this.silenceMs });
      asked.on('timeout', () => asked.destroy(new Error(`no answer within ${this.silenceMs} ms`)));
      // What goes wrong after the head is an error of the body.
      asked.on('error', () => {});
      asked.end(body);
      try {
        const [answer] = await once(asked, 'response');
        return answer;
      } catch (error) {
        // The server closed a connection that was kept open before it read this.
        if (!asked.reusedSocket || (error as { code?: unknown }).code !== 'ECONNRESET') throw error;
      }
    }
  }
}
