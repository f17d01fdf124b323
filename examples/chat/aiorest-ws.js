// Made of clients/typescript/ by `npm run bundle`.
"use strict";
var aiorestWs = (() => {
  var __defProp = Object.defineProperty;
  var __getOwnPropDesc = Object.getOwnPropertyDescriptor;
  var __getOwnPropNames = Object.getOwnPropertyNames;
  var __hasOwnProp = Object.prototype.hasOwnProperty;
  var __export = (target, all) => {
    for (var name in all)
      __defProp(target, name, { get: all[name], enumerable: true });
  };
  var __copyProps = (to, from, except, desc) => {
    if (from && typeof from === "object" || typeof from === "function") {
      for (let key of __getOwnPropNames(from))
        if (!__hasOwnProp.call(to, key) && key !== except)
          __defProp(to, key, { get: () => from[key], enumerable: !(desc = __getOwnPropDesc(from, key)) || desc.enumerable });
    }
    return to;
  };
  var __toCommonJS = (mod) => __copyProps(__defProp({}, "__esModule", { value: true }), mod);

  // src/index.ts
  var index_exports = {};
  __export(index_exports, {
    ConnectionLost: () => ConnectionLost,
    Lagged: () => Lagged,
    RequestFailed: () => RequestFailed,
    TimedOut: () => TimedOut,
    UnexpectedReply: () => UnexpectedReply,
    createClient: () => createClient
  });

  // src/errors.ts
  var RequestFailed = class extends Error {
    constructor(status, detail, retry) {
      super(`${status}: ${typeof detail === "string" ? detail : JSON.stringify(detail)}`);
      this.status = status;
      this.detail = detail;
      this.retry = retry;
    }
    status;
    detail;
    retry;
    name = "RequestFailed";
  };
  var ConnectionLost = class extends Error {
    constructor(message, mayHaveRun) {
      super(message);
      this.mayHaveRun = mayHaveRun;
    }
    mayHaveRun;
    name = "ConnectionLost";
  };
  var TimedOut = class extends Error {
    constructor(mayHaveRun) {
      super("no reply came in time: give the call a longer timeout, or look whether the server is busy");
      this.mayHaveRun = mayHaveRun;
    }
    mayHaveRun;
    name = "TimedOut";
  };
  var UnexpectedReply = class extends Error {
    name = "UnexpectedReply";
    constructor() {
      super("what came is no reply of aiorest-ws: look whether the url is that of such a server");
    }
  };
  var Lagged = class extends Error {
    name = "Lagged";
    constructor(items) {
      super(`${items} items wait to be read: read faster, or subscribe with a callback`);
    }
  };

  // src/calls.ts
  var unsent = ({ method }, room) => `${method} was not sent: ${room ? `there is no connection, for which only GET waits, and ${room} calls at most` : "the client is closed"}`;
  var Calls = class {
    constructor(limits, send) {
      this.limits = limits;
      this.send = send;
      this.most = limits.concurrency ?? 48;
    }
    limits;
    send;
    ids = 0;
    waiting = [];
    /** Whoever does not wait any more leaves its place to its reply, as the server is still at it. */
    flying = /* @__PURE__ */ new Map();
    abandoned = 0;
    most;
    /** As many as may be are in flight, and nobody waits for any of them: this connection is of no use. */
    get isStuck() {
      return this.abandoned >= this.most;
    }
    /** Let a call wait; `room`: for as many while there is no connection, Infinity where there is one. */
    add(message, room, timeout = this.limits.timeout ?? 3e4, signal) {
      const isOnce = message.idempotency_key !== void 0;
      const keeps = isOnce || message.method === "GET";
      const call = this.make(JSON.stringify(message), keeps, isOnce, timeout, signal);
      if (signal?.aborted) call.reject(signal.reason);
      else if (room < Infinity && (!keeps || this.waiting.length >= room)) call.reject(new ConnectionLost(unsent(message, room), false));
      else this.waiting.push(call);
      return call;
    }
    make(text, keeps, isOnce, timeout, signal) {
      const call = { text, keeps, isOnce, sent: false };
      call.reply = new Promise((resolve, reject) => {
        const end = (settle) => (value) => {
          clearTimeout(timer);
          signal?.removeEventListener("abort", abort);
          settle(value);
        };
        const abort = () => call.cancel(signal.reason);
        const timer = timeout ? setTimeout(() => call.cancel(new TimedOut(call.sent)), timeout) : void 0;
        call.resolve = end(resolve);
        call.reject = end(reject);
        call.cancel = (error) => {
          this.abandon(call);
          call.reject(error);
        };
        signal?.addEventListener("abort", abort);
      });
      return call;
    }
    abandon(call) {
      this.waiting = this.waiting.filter((other) => other !== call);
      for (const [id, other] of this.flying)
        if (other === call) {
          this.flying.set(id, void 0);
          this.abandoned++;
        }
    }
    /** Send what may be sent; true: a token has to be asked for before that. */
    flush({ fresh }) {
      while (this.waiting.length && this.flying.size < this.most) {
        if (fresh === void 0) return true;
        const call = this.waiting.shift();
        if (call.refused && call.token === fresh) call.resolve(call.refused);
        else this.fly(call, fresh);
      }
      return false;
    }
    fly(call, token) {
      const id = ++this.ids;
      this.flying.set(id, call);
      call.sent = true;
      call.token = token;
      this.send(`${call.text.slice(0, -1)},"id":${id}${token === null ? "" : `,"token":${JSON.stringify(token)}`}}`);
    }
    tell(message) {
      this.send(JSON.stringify({ ...message, id: ++this.ids }));
    }
    /** The call that a reply is for, if somebody waits for it. */
    replied(id) {
      const call = this.flying.get(id);
      if (this.flying.delete(id) && !call) this.abandoned--;
      return call;
    }
    /** Its token was refused, and so it has not run: it is the first to be sent with another. */
    again(call, refused) {
      call.refused = refused;
      call.sent = false;
      this.waiting.unshift(call);
    }
    /** No token can be had: what waits for it ends. */
    fail(error) {
      for (const call of this.waiting.splice(0)) call.reject(error);
    }
    /** The connection is lost. What was sent may have run; of what waits, GET stays, and what the server runs once. */
    drop(why, mayRepeat) {
      const flying = this.landed();
      const stays = (call) => call.sent ? call.isOnce && mayRepeat : call.keeps;
      const all = [...flying, ...this.waiting];
      this.waiting = all.filter(stays).slice(0, this.limits.queue ?? 256);
      for (const call of all) if (!this.waiting.includes(call)) call.reject(new ConnectionLost(why, call.sent));
    }
    /** Nothing stays. */
    reject(why) {
      for (const call of [...this.landed(), ...this.waiting.splice(0)]) call.reject(new ConnectionLost(why, call.sent));
    }
    landed() {
      const flying = [...this.flying.values()].filter((call) => call !== void 0);
      this.flying.clear();
      this.abandoned = 0;
      return flying;
    }
  };
  function checked(reply) {
    if (reply.status >= 400) throw new RequestFailed(reply.status, reply.detail, reply.retry);
    return reply;
  }

  // src/purse.ts
  var now = () => performance.now();
  var MARGIN = 3e4;
  var LEAST = 1e3;
  function claims(token) {
    try {
      const body = token.split(".")[1].replace(/-/g, "+").replace(/_/g, "/");
      return Object(JSON.parse(atob(body)));
    } catch {
      return {};
    }
  }
  function owner(token) {
    const { iss, sub } = claims(token);
    return sub === void 0 ? "" : `${iss} ${sub}`;
  }
  var Purse = class {
    /** `renewed` is told of each new token but the first; `another`: it belongs to another user, or to nobody. */
    constructor(source, renewed) {
      this.source = source;
      this.renewed = renewed;
    }
    source;
    renewed;
    token;
    due = 0;
    asking;
    get renewable() {
      return typeof this.source === "function";
    }
    /** The token to send, null for none, undefined while one has to be asked for. */
    get fresh() {
      if (typeof this.source !== "function") return this.source ?? null;
      return now() < this.due ? this.token : void 0;
    }
    /** Milliseconds until the next token is asked for. */
    get rest() {
      return this.renewable ? this.due - now() : Infinity;
    }
    /** The server takes `token` no longer. */
    refuse(token) {
      if (token === this.token) this.due = 0;
    }
    /** Ask for a token: whoever does so meanwhile waits for the same. Raises what the callback does. */
    ask() {
      this.asking ??= this.fetch().finally(() => {
        this.asking = void 0;
      });
      return this.asking;
    }
    async fetch() {
      const before = this.token;
      const token = await this.source() ?? null;
      const left = Number(claims(token).exp ?? Infinity) * 1e3 - Date.now();
      this.token = token;
      this.due = now() + Math.max(LEAST, left - Math.min(MARGIN, left / 2));
      if (before === void 0 || before === token) return;
      this.renewed(before !== null && (token === null || owner(before) !== owner(token)));
    }
  };

  // src/link.ts
  var STABLE = 3e4;
  var HASTE = 3e3;
  var UNTIRING = 16;
  var SLOWLY = /* @__PURE__ */ new Set([1013, 4408, 4425, 4429]);
  var isRefusal = (code) => code === 1008 || code >= 4400 && code < 4500 && !SLOWLY.has(code);
  function guarded(callback, ...args) {
    try {
      callback?.(...args);
    } catch (error) {
      (globalThis.window?.reportError ?? console.error)(error);
    }
  }
  var Link = class {
    constructor(options) {
      this.options = options;
      const Kind = options.WebSocket ?? globalThis.WebSocket;
      if (!Kind) throw new TypeError("no WebSocket here: give one, as createClient({url, WebSocket})");
      if (!/^wss?:\/\//i.test(options.url)) throw new TypeError(`the url begins with ws:// or wss://, not as ${options.url}`);
      this.Kind = Kind;
      this.calls = new Calls(options, (text) => this.socket.send(text));
      this.purse = this.purseOf(options.token);
      this.connect();
      globalThis.addEventListener?.("online", this.wake);
      globalThis.document?.addEventListener?.("visibilitychange", this.wake);
    }
    options;
    status = "connecting";
    watchers = /* @__PURE__ */ new Set();
    onpush = () => {
    };
    /** The token is another; `another`: so is the user, and what was known of the old one is to be forgotten. */
    onrenewed = () => {
    };
    purse;
    /** Why the server does not let this client in. */
    refusal;
    Kind;
    calls;
    socket;
    attempts = 0;
    began = 0;
    heard = 0;
    pinged = 0;
    late = 0;
    moved = 0;
    isOver = false;
    wasRefused = false;
    retrying;
    pulse;
    call(message, timeout, signal) {
      const keeps = { open: Infinity, connecting: Infinity, offline: this.options.queue ?? 256, closed: 0 };
      const call = this.calls.add(message, keeps[this.status], timeout, signal);
      this.flush();
      return call;
    }
    /** Send what waits for no room: UNSUBSCRIBE and PING; nobody waits for the reply. */
    tell(message) {
      if (this.status === "open") this.calls.tell(message);
    }
    close() {
      this.isOver = true;
      globalThis.removeEventListener?.("online", this.wake);
      globalThis.document?.removeEventListener?.("visibilitychange", this.wake);
      this.stop("the client was closed");
    }
    /** Take another user's token from here on. */
    become(token) {
      if (this.isOver) return;
      this.purse = this.purseOf(token);
      this.changeUser();
    }
    /** A part of the back-off's bound, all of it equally likely. */
    jitter(attempts) {
      const [least, most] = this.options.backoff ?? [500, 2e4];
      return Math.random() * Math.min(most, least * 2 ** Math.min(attempts, UNTIRING));
    }
    purseOf(token) {
      const purse = new Purse(token, (another) => {
        if (purse !== this.purse || this.status === "closed") return;
        if (another) this.changeUser();
        else this.onrenewed(false);
      });
      return purse;
    }
    /** A new connection, as the old one is the old user's, and so is all that waits. */
    changeUser() {
      this.calls.reject("the user changed");
      this.letGo();
      this.wasRefused = false;
      this.set("offline");
      this.onrenewed(true);
      if (!this.isOver) this.connect();
    }
    wake = () => {
      if (globalThis.document?.visibilityState === "hidden") return;
      if (this.status === "open") this.ping();
      else if (this.status === "offline" && (!this.socket || now() - this.began > HASTE)) this.connect();
    };
    connect = () => {
      this.letGo();
      const socket = this.socket = new this.Kind(this.options.url);
      const mine = (act) => (argument) => void (socket === this.socket && act(argument));
      socket.onopen = mine(() => this.begin());
      socket.onmessage = mine((event) => this.take(event.data));
      socket.onclose = mine((event) => this.lost(event.code));
      socket.onerror = mine((event) => {
        const refused = /\b40[13]\b/.exec(event?.message ?? "");
        if (socket.readyState !== 1) this.lost(refused ? 4e3 + Number(refused[0]) : 1006);
      });
      this.began = this.heard = this.moved = now();
      this.pinged = this.late = 0;
      this.pulse = setInterval(() => this.beat(), Math.min(1e3, (this.options.silence ?? 25e3) / 4));
      this.set(this.attempts ? "offline" : "connecting");
    };
    begin() {
      this.began = this.heard = now();
      this.pinged = 0;
      this.set("open");
      this.flush();
    }
    take(text) {
      this.heard = now();
      this.pinged = this.late = 0;
      let message;
      try {
        message = Object(JSON.parse(text));
      } catch {
        return;
      }
      if (message.id === void 0) return this.onpush(message);
      const call = this.calls.replied(message.id);
      if (call && typeof message.status !== "number") call.reject(new UnexpectedReply());
      else if (call && message.status === 401 && !call.refused && this.purse.renewable) {
        this.purse.refuse(call.token);
        this.calls.again(call, message);
      } else call?.resolve(message);
      this.flush();
    }
    flush() {
      if (this.status !== "open" || !this.calls.flush(this.purse)) return;
      const { purse } = this;
      const ours = () => purse === this.purse && this.status === "open";
      purse.ask().then(
        () => ours() && this.flush(),
        (error) => ours() && this.calls.fail(error)
      );
    }
    beat() {
      const time = now();
      const { silence = 25e3, patience = 1e4 } = this.options;
      if (!this.calls.isStuck) this.moved = time;
      if (time - this.moved > silence) this.lost(4e3);
      else if (!this.pinged) {
        if (time - this.heard > silence) this.ping();
      } else if (time - this.pinged > patience && this.late++) {
        this.lost(4e3);
      }
    }
    ping() {
      this.pinged ||= now();
      this.tell({ method: "PING" });
    }
    lost(code) {
      if (this.status === "open" && now() - this.began > STABLE) {
        this.attempts = 0;
        this.wasRefused = false;
      }
      const isExpired = code === 4401 && !this.wasRefused && this.purse.renewable;
      if (isRefusal(code) && !isExpired) return this.stop(`the server refused the connection with ${code}`);
      if (SLOWLY.has(code)) this.attempts = UNTIRING;
      this.calls.drop(`the connection was lost with ${code}`, code !== 1009);
      this.letGo();
      const pause = this.jitter(this.attempts++);
      this.retrying = setTimeout(isExpired ? () => this.refresh() : this.connect, pause);
      this.wasRefused ||= isExpired;
      this.set("offline");
    }
    /** Connect with a fresh token: the callback may give the page a new cookie, too. */
    refresh() {
      const { purse, retrying } = this;
      const go = () => {
        if (purse === this.purse && retrying === this.retrying && this.status === "offline" && !this.socket) this.connect();
      };
      purse.ask().then(go, go);
    }
    letGo() {
      const { socket } = this;
      this.socket = void 0;
      clearInterval(this.pulse);
      clearTimeout(this.retrying);
      socket?.close();
    }
    stop(why) {
      this.letGo();
      this.calls.reject(why);
      if (!this.isOver) this.refusal = new ConnectionLost(why, false);
      this.set("closed");
    }
    set(status) {
      if (status === this.status) return;
      this.status = status;
      for (const watcher of [...this.watchers]) guarded(watcher, status);
    }
  };

  // src/reader.ts
  var WAITING = 1024;
  var Reader = class {
    constructor(leave) {
      this.leave = leave;
    }
    leave;
    changes = [];
    wakes = [];
    isDone = false;
    error;
    put(change) {
      if (this.isDone) return;
      if (change.type === "value") {
        const isMissing = this.changes.some((other) => other.type === "item" || other.lost);
        this.changes = [{ ...change, lost: change.lost || isMissing }];
      } else if (this.changes.push(change) > WAITING) {
        this.changes = [];
        this.end(new Lagged(WAITING));
        this.leave();
      }
      this.wake();
    }
    forget() {
      this.changes = [];
    }
    end(error) {
      if (this.isDone) return;
      this.isDone = true;
      this.error = error;
      this.wake();
    }
    async next() {
      while (!this.changes.length && !this.isDone) await new Promise((resolve) => this.wakes.push(resolve));
      if (this.changes.length) return { done: false, value: this.changes.shift() };
      const { error } = this;
      this.error = void 0;
      if (error !== void 0) throw error;
      return { done: true, value: void 0 };
    }
    async return() {
      this.changes = [];
      this.end();
      this.leave();
      return { done: true, value: void 0 };
    }
    wake() {
      for (const wake of this.wakes.splice(0)) wake();
    }
  };

  // src/topics.ts
  var STABLE2 = 3e4;
  function parsed(text) {
    const parts = text.split(".");
    return { text, epoch: parts[0], number: Number(parts[1]), isLog: parts.length === 2 };
  }
  var Topic = class {
    constructor(link, request, gone) {
      this.link = link;
      this.request = request;
      this.gone = gone;
    }
    link;
    request;
    gone;
    listeners = /* @__PURE__ */ new Set();
    status = "stale";
    /** Its name on this connection, once the server has told it. */
    name;
    since;
    /** A state's, for who comes later. */
    value;
    /** A log's first value has to be asked for, as somebody has not had it. */
    isWanted = true;
    key;
    keys = /* @__PURE__ */ new Set();
    call;
    token;
    isForgiven = false;
    attempts = 0;
    lived = 0;
    due = 0;
    timer;
    add(listener) {
      this.listeners.add(listener);
      if (this.value) queueMicrotask(() => this.catchUp(listener));
      else if (this.since && !this.isWanted) {
        this.isWanted = true;
        this.ask();
      }
    }
    catchUp(listener) {
      if (listener.started || !this.value || !this.listeners.has(listener)) return;
      this.hand(listener, { type: "value", data: this.value.data, lost: false });
      if (this.status === "live") guarded(() => listener.onstatus?.("live"));
    }
    remove(listener) {
      if (this.listeners.delete(listener) && !this.listeners.size) this.end();
    }
    /** The connection is gone, and its subscriptions with it. */
    lost() {
      this.name = void 0;
      this.pause();
    }
    /** Another user signed in. */
    forget() {
      this.since = this.value = this.key = void 0;
      this.keys.clear();
      this.isWanted = true;
      this.isForgiven = false;
      this.lost();
      for (const listener of [...this.listeners]) {
        listener.started = false;
        guarded(() => listener.onforget?.());
      }
    }
    /** There is a connection: ask, but not before the server wants it. */
    opened() {
      const rest = this.due - now();
      if (rest > 0) this.timer = setTimeout(() => this.ask(), rest);
      else this.ask();
    }
    /** SUBSCRIBE, again if need be; a later one takes the place of an earlier one. */
    ask() {
      if (this.status === "ended" || this.link.status !== "open") return;
      clearTimeout(this.timer);
      this.call?.cancel(void 0);
      const since = this.isWanted ? void 0 : this.since?.text;
      const call = this.call = this.link.call({ method: "SUBSCRIBE", ...this.request, ...since && { since } });
      const mine = (act) => (argument) => {
        if (call !== this.call) return;
        this.call = void 0;
        act(argument);
      };
      const { resolve } = call;
      const replied = mine((reply) => this.replied(call, reply));
      call.resolve = (reply) => {
        resolve(reply);
        replied(reply);
      };
      call.reply.catch(mine((error) => this.failed(error)));
    }
    replied(call, reply) {
      try {
        checked(reply);
        if (typeof reply.topic !== "string" || typeof reply.version !== "string") throw new UnexpectedReply();
      } catch (error) {
        return this.failed(error);
      }
      this.token = call.token;
      this.name = reply.topic;
      this.lived = now();
      const version = parsed(reply.version);
      if (reply.status === 200) this.begin(version, reply);
      else if (reply.status === 304) this.since = version;
      this.set("live");
    }
    begin(version, { data, key }) {
      const before = this.since;
      if (!version.isLog && this.isOlder(version)) return;
      const lost = version.isLog && before !== void 0 && before.text !== version.text;
      this.since = version;
      this.isWanted = false;
      this.key = key;
      this.keys = new Set(key && Array.isArray(data) ? data.map((item) => item?.[key]) : []);
      if (!version.isLog) this.value = { data };
      for (const listener of [...this.listeners]) this.hand(listener, { type: "value", data, lost: lost && listener.started === true });
    }
    push(message) {
      if (message.status !== void 0) return this.ended(message);
      if (!this.since || typeof message.version !== "string") return;
      const version = parsed(message.version);
      if (version.isLog) this.pushItem(version, message.data);
      else if (!this.isOlder(version)) {
        this.since = version;
        if (!("data" in message)) return;
        this.value = { data: message.data };
        for (const listener of [...this.listeners]) this.hand(listener, { type: "value", data: message.data, lost: false });
      }
    }
    pushItem(version, data) {
      const { epoch, number } = this.since;
      if (version.epoch !== epoch || version.number > number + 1) {
        if (this.status !== "live" || this.call) return;
        this.pause();
        return this.later(0);
      }
      if (version.number <= number) return;
      this.since = version;
      if (this.key !== void 0 && this.keys.delete(data?.[this.key])) return;
      for (const listener of [...this.listeners]) if (listener.started) this.hand(listener, { type: "item", data });
    }
    isOlder({ epoch, number }) {
      return this.since !== void 0 && epoch === this.since.epoch && number < this.since.number;
    }
    /** The server ends it: a token that is too old is renewed, but not again and again. */
    ended({ status, detail, retry }) {
      this.name = void 0;
      if (now() - this.lived > STABLE2) this.isForgiven = false;
      if (status !== 401 || this.isForgiven || !this.link.purse.renewable) {
        return this.failed(new RequestFailed(status, detail, retry));
      }
      this.isForgiven = true;
      this.link.purse.refuse(this.token);
      this.pause();
      this.later(0);
    }
    /** Come back later if that makes sense, else say why it ended. */
    failed(error) {
      this.pause();
      if (error instanceof UnexpectedReply) this.end(error);
      else if (!(error instanceof RequestFailed)) this.later(0);
      else {
        const { status, retry } = error;
        const passes = retry !== void 0 || status === 409 || status === 429 || status >= 500;
        if (passes) this.later(retry ?? 0);
        else this.end(error);
      }
    }
    /** Wait for what the server asks, and a part of the back-off; where there is no connection, its opening asks. */
    later(retry) {
      if (this.lived && now() - this.lived > STABLE2) this.attempts = 0;
      this.lived = 0;
      this.due = now() + retry;
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.ask(), retry + this.link.jitter(this.attempts++));
    }
    pause() {
      clearTimeout(this.timer);
      this.set("stale");
    }
    end(error) {
      if (this.status === "ended") return;
      const isKnown = this.name !== void 0 || this.call?.sent === true;
      const { call } = this;
      this.call = void 0;
      call?.cancel(void 0);
      clearTimeout(this.timer);
      this.set("ended", error);
      this.listeners.clear();
      this.gone(isKnown);
    }
    hand(listener, change) {
      if (!this.listeners.has(listener)) return;
      listener.started = true;
      guarded(() => listener.onchange(change));
    }
    set(status, error) {
      if (status === this.status || this.status === "ended") return;
      this.status = status;
      for (const listener of [...this.listeners]) guarded(() => listener.onstatus?.(status, error));
    }
  };
  var Topics = class {
    constructor(link) {
      this.link = link;
      link.watchers.add((status) => {
        this.each((topic) => {
          if (status === "open") topic.opened();
          else if (status === "closed") topic.end(link.refusal);
          else topic.lost();
        });
        this.watchToken();
      });
      link.onrenewed = (another) => this.each((topic) => another ? topic.forget() : topic.ask());
    }
    link;
    topics = /* @__PURE__ */ new Map();
    renewal;
    /** The topic of `asked`, for another listener. Raises TypeError for what is too large to be asked for. */
    of(asked) {
      const key = canonical(asked);
      if (key.length > LARGEST) throw new TypeError(`a subscription takes at most ${LARGEST} characters of url and args`);
      let topic = this.topics.get(key);
      if (!topic) {
        const made = topic = new Topic(this.link, asked, (isKnown) => this.remove(key, made, isKnown));
        this.topics.set(key, made);
        queueMicrotask(() => {
          made.ask();
          this.watchToken();
        });
      }
      return topic;
    }
    push(message) {
      this.each((topic) => topic.name === message.event_name && topic.push(message));
    }
    remove(key, topic, isKnown) {
      this.topics.delete(key);
      if (isKnown && ![...this.topics.values()].some(({ name }) => name !== void 0 && name === topic.name)) {
        this.link.tell({ method: "UNSUBSCRIBE", ...topic.request });
      }
    }
    /** Subscriptions live by their token: they get a new one before it expires, also where no call asks for one. */
    watchToken() {
      clearTimeout(this.renewal);
      const { rest } = this.link.purse;
      if (this.link.status !== "open" || !this.topics.size || rest === Infinity) return;
      const pause = Math.max(1e3, Math.min(rest, LONGEST));
      this.renewal = setTimeout(() => {
        if (this.link.purse.rest > 0) return this.watchToken();
        const next = () => this.watchToken();
        this.link.purse.ask().then(next, () => this.renewal = setTimeout(next, FAILED));
      }, pause);
    }
    each(act) {
      for (const topic of [...this.topics.values()]) act(topic);
    }
  };
  var LARGEST = 16384;
  var FAILED = 1e4;
  var LONGEST = 2 ** 30;
  function canonical(value) {
    return JSON.stringify(
      value,
      (_, part) => part && typeof part === "object" && !Array.isArray(part) ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => a < b ? -1 : 1)) : part
    );
  }

  // src/index.ts
  function filled(url, path = {}) {
    return url.replace(/\{([^}:]+)(:[^}]*)?\}/g, (_, name, kind) => {
      const value = String(path[name] ?? "");
      if (value === "" || value.includes("/") && kind !== ":path") {
        throw new TypeError(`${url} needs path: {${name}: …} that is neither empty nor has a slash, got "${value}"`);
      }
      return value;
    });
  }
  function createClient(options) {
    const link = new Link(options);
    const topics = new Topics(link);
    const hearers = /* @__PURE__ */ new Set();
    const forgetters = /* @__PURE__ */ new Set();
    const renewed = link.onrenewed;
    link.onrenewed = (another) => {
      renewed(another);
      if (another) for (const forget of [...forgetters]) guarded(forget);
    };
    link.onpush = (message) => {
      const { event_name: name, data } = message;
      if (message.version !== void 0 || message.status !== void 0) topics.push(message);
      else if (typeof name === "string") for (const hearer of [...hearers]) guarded(hearer, { name, data });
    };
    const request = async (method, url, given = {}) => {
      const { path, args, data, idempotencyKey, timeout, signal } = given;
      const message = { method: method.toUpperCase(), url: filled(url, path), args, data, idempotency_key: idempotencyKey };
      return checked(await link.call(message, timeout, signal).reply).data;
    };
    const subscribe = (url, { path, args, signal, onchange, onstatus } = {}) => {
      const close = () => {
        signal?.removeEventListener("abort", close);
        topic?.remove(listener);
        reader?.end();
      };
      const reader = onchange ? void 0 : new Reader(() => close());
      const listener = {
        onchange: (change) => onchange ? onchange(change) : reader.put(change),
        onstatus: (status, error) => {
          if (status === "ended") {
            signal?.removeEventListener("abort", close);
            reader?.end(error);
          }
          onstatus?.(status, error);
        },
        onforget: () => reader?.forget()
      };
      const asked = { url: filled(url, path), ...args && { args } };
      const topic = link.status === "closed" ? void 0 : topics.of(asked);
      topic?.add(listener);
      if (!topic) {
        const error = link.refusal ?? new ConnectionLost("the client is closed", false);
        queueMicrotask(() => guarded(() => listener.onstatus("ended", error)));
      }
      if (signal?.aborted) close();
      else signal?.addEventListener("abort", close);
      return {
        get status() {
          return topic?.listeners.has(listener) ? topic.status : "ended";
        },
        close,
        [Symbol.asyncIterator]: () => {
          if (!reader) throw new TypeError("a subscription with onchange is not iterated");
          return reader;
        }
      };
    };
    const watch = (set, callback) => {
      set.add(callback);
      return () => void set.delete(callback);
    };
    const verb = (method) => (url, given) => request(method, url, given);
    return {
      get: verb("GET"),
      post: verb("POST"),
      put: verb("PUT"),
      patch: verb("PATCH"),
      delete: verb("DELETE"),
      request,
      subscribe,
      events: (callback) => watch(hearers, callback),
      get status() {
        return link.status;
      },
      onstatus: (callback) => watch(link.watchers, callback),
      onuser: (callback) => watch(forgetters, callback),
      signIn: (token) => link.become(token),
      close: () => link.close()
    };
  }
  return __toCommonJS(index_exports);
})();
