// SPDX-License-Identifier: Apache-2.0
/**
 * A limit for what a device reports, since a driver, a back-end or a front-end can cause reports without end.
 *
 * @module
 */

/** The part of an event that is looked at. */
export interface LimitedEvent {
  readonly kind: string;
  readonly text: string;
  /** It comes often, and is not shown to people. */
  readonly quiet?: true;
}

/** How many events of one kind are passed on. */
export interface EventRate {
  /** So many at once. */
  readonly burst: number;
  /** So many in each second afterwards. */
  readonly perSecond: number;
}

/** For events that people read. */
export const EVENT_RATE: EventRate = { burst: 50, perSecond: 1 };
/** For quiet events. */
export const QUIET_RATE: EventRate = { burst: 100, perSecond: 100 };

/** What is left of a kind's burst at a moment. */
interface Allowance {
  left: number;
  ms: number;
}

/**
 * Limits the events of one device. Each kind has its own allowance, so that a flood of one does not hide the others. The
 * next event that people read says how many were left out.
 *
 * @param report Receives what is passed on
 * @param now The time in milliseconds
 * @param rate For events that are not quiet
 */
export function limitEvents<E extends LimitedEvent>(
  report: (event: E) => void,
  now: () => number,
  rate: EventRate = EVENT_RATE,
): (event: E) => void {
  const allowances = new Map<string, Allowance>();
  let leftOut = 0;
  const isAllowed = ({ kind, quiet }: E): boolean => {
    const { burst, perSecond } = quiet === true ? QUIET_RATE : rate;
    const ms = now();
    const before = allowances.get(kind) ?? { left: burst, ms };
    const left = Math.min(burst, before.left + (ms - before.ms) * perSecond / 1000);
    allowances.set(kind, { left: left < 1 ? left : left - 1, ms });
    return left >= 1;
  };
  return (event) => {
    if (!isAllowed(event)) leftOut++;
    else if (leftOut === 0 || event.quiet === true) report(event);
    else {
      const what = leftOut === 1
        ? "1 report before this was"
        : `${leftOut} reports before this were`;
      const text = `${event.text} (${what} left out)`;
      leftOut = 0;
      report({ ...event, text });
    }
  };
}
