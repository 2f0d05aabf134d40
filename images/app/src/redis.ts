import { Cluster, Redis, type RedisOptions } from 'ioredis';
import type { Config } from './config.ts';
import { Dependency } from './dependency.ts';
import { Unavailable } from './errors.ts';
import type { Log } from './log.ts';
import { STORE_MS, within } from './time.ts';

export type RedisClient = Redis | Cluster;

/** What the shop's parts need of Redis: run a command, or fail as Unavailable. */
export type RedisStore = { run<T>(command: (client: RedisClient) => Promise<T>, ms?: number): Promise<T> };

// A little less than a probe may take, so that it can still tell why there was no answer.
const PING_MS = 900;

const backoff = (attempt: number) => Math.min(attempt * 100, 1_000);

/** One node or a cluster, whichever the address turns out to be. */
export class RedisConnection implements RedisStore {
  readonly health: Dependency;
  private readonly options: RedisOptions;
  private readonly log: Log;
  private client: RedisClient | undefined;
  private connecting: Promise<RedisClient> | undefined;
  private lastError: Error | undefined;

  constructor(config: Config, log: Log) {
    const { host, port, tls, ca, username, password } = config.redis;
    this.options = {
      host,
      port,
      ...(username && { username }),
      ...(password && { password }),
      ...(tls && { tls: { ca } }),
      connectTimeout: 3_000,
      // A node that vanished without a word keeps its connection: give up on one that doesn't answer.
      socketTimeout: 4_000,
      // Redis before 7.2 counts this command as an error.
      disableClientInfo: true,
    };
    this.log = log;
    this.health = new Dependency('Redis', log, () => this.probe());
  }

  async run<T>(command: (client: RedisClient) => Promise<T>, ms = STORE_MS): Promise<T> {
    this.health.assertUsable();
    if (!this.client) throw new Unavailable('Redis');
    try {
      return await within(ms, command(this.client));
    } catch (error) {
      throw new Unavailable('Redis', error);
    }
  }

  async close(): Promise<void> {
    this.health.stop();
    this.client?.disconnect();
  }

  private async probe(): Promise<void> {
    this.connecting ??= this.connect().catch((error) => {
      this.connecting = undefined;
      throw error;
    });
    const client = await this.connecting;
    try {
      await within(PING_MS, this.ask(client));
      this.lastError = undefined;
    } catch (error) {
      // The cause that a connection gave says more than "connection is closed".
      throw this.lastError ?? error;
    }
  }

  private async ask(client: RedisClient): Promise<void> {
    if (client instanceof Redis) {
      await client.ping();
      return;
    }
    const state = /cluster_state:(\w+)/.exec(String(await client.cluster('INFO')))?.[1];
    if (state !== 'ok') throw new Error(`the cluster's state is ${state}`);
  }

  /** Asks the address what it is and opens the client for that. */
  private async connect(): Promise<RedisClient> {
    const scout = new Redis({ ...this.options, lazyConnect: true, retryStrategy: () => null });
    scout.on('error', (error) => {
      this.lastError = error;
    });
    let clustered: boolean;
    try {
      await scout.connect();
      clustered = /cluster_enabled:1/.test(await scout.info('cluster'));
    } catch (error) {
      throw this.lastError ?? error;
    } finally {
      scout.disconnect();
    }
    this.client = clustered ? this.cluster() : this.single();
    this.client.on('error', (error) => {
      this.lastError = error;
    });
    this.log.info(`Redis is ${clustered ? 'a cluster' : 'a single node'}.`);
    return this.client;
  }

  private single(): Redis {
    return new Redis({ ...this.options, retryStrategy: backoff, maxRetriesPerRequest: null });
  }

  private cluster(): Cluster {
    const { host, port, ...redisOptions } = this.options;
    const cluster = new Cluster([{ host: host as string, port: port as number }], {
      redisOptions,
      // Keep names as names, so that each connection looks the address up anew and TLS can check the name.
      dnsLookup: (name, done) => done(null, name),
      clusterRetryStrategy: backoff,
      // The time limit of run() ends the attempts, not their number: a failover takes many.
      maxRedirections: 1_000,
      retryDelayOnFailover: 200,
      retryDelayOnClusterDown: 200,
      retryDelayOnTryAgain: 200,
      slotsRefreshTimeout: 3_000,
      slotsRefreshInterval: 10_000,
    });
    cluster.on('node error', (error) => {
      this.lastError = error;
    });
    return cluster;
  }
}
