import { reason, Unavailable } from './errors.ts';
import type { Log } from './log.ts';
import { Late, STORE_MS, within } from './time.ts';

const PROBE_MS = 1_000;
const WATCH_MS = 2_000;
const START_MS = 10_000;

type State = 'starting' | 'ok' | 'refused' | 'unavailable';

/** Says whether the store turned us away, rather than could not be reached. */
function isRefusal(error: unknown): boolean {
  const { code, message } = error as { code?: unknown; message?: string };
  return (
    code === 18 ||
    code === 13 ||
    code === 403 ||
    /\b(WRONGPASS|NOAUTH|NOPERM)\b|^Authentication failed/.test(message ?? '')
  );
}

/** Knows whether a store answers, and logs one line when that changes. */
export class Dependency {
  readonly name: string;
  private readonly probe: () => Promise<void>;
  private readonly log: Log;
  private state: State = 'starting';
  private readonly born = Date.now();
  private downSince = Number.NEGATIVE_INFINITY;
  private running: Promise<string> | undefined;
  private timer: NodeJS.Timeout | undefined;
  private stopped = false;

  constructor(name: string, log: Log, probe: () => Promise<void>) {
    this.name = name;
    this.log = log;
    this.probe = probe;
  }

  /** "ok", or the reason why not, within a second; callers at the same time share one probe. */
  check(): Promise<string> {
    this.running ??= within(PROBE_MS, this.probe())
      .then(
        () => this.turn('ok', 'ok'),
        (error) => this.turn(this.stateFor(error), reason(error)),
      )
      .finally(() => {
        this.running = undefined;
      });
    return this.running;
  }

  /** Fails at once when the store has been away for longer than a failover takes, so that requests don't pile up. */
  assertUsable(): void {
    if (this.state !== 'ok' && Date.now() - this.downSince > STORE_MS) throw new Unavailable(this.name);
  }

  watch(): void {
    this.check().finally(() => {
      if (!this.stopped) this.timer = setTimeout(() => this.watch(), WATCH_MS);
    });
  }

  stop(): void {
    this.stopped = true;
    clearTimeout(this.timer);
  }

  private stateFor(error: unknown): State {
    if (isRefusal(error)) return 'refused';
    // A first connection may take its time where CPU is scarce; that's no news yet.
    const early = this.state === 'starting' && Date.now() - this.born < START_MS;
    return early && error instanceof Late ? 'starting' : 'unavailable';
  }

  private turn(state: State, why: string): string {
    const before = this.state;
    this.state = state;
    if (state === before || this.stopped) return why;
    if (before === 'ok') this.downSince = Date.now();
    if (state === 'ok') this.log.info(`${this.name} is connected.`);
    else if (state === 'refused')
      this.log.error({ reason: why }, `${this.name} refuses this user or its password; trying again.`);
    else this.log.warn({ reason: why }, `${this.name} is unavailable; trying again.`);
    return why;
  }
}
