-- Version 1. What the schema itself refuses, no bug above it can do: spend what is not there,
-- change or delete what was booked, use a key twice, pay oneself.

CREATE TABLE account (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    currency TEXT NOT NULL CHECK (currency IN ('COIN', 'DIA')),
    may_be_negative INTEGER NOT NULL CHECK (may_be_negative IN (0, 1)),
    balance INTEGER NOT NULL DEFAULT 0,
    CHECK (balance >= 0 OR may_be_negative),
    CHECK (balance <= 0 OR NOT may_be_negative)
) STRICT;
CREATE TRIGGER account_starts_at_zero BEFORE INSERT ON account WHEN NEW.balance <> 0
BEGIN SELECT RAISE(ABORT, 'an account starts at zero'); END;
CREATE TRIGGER account_is_fixed BEFORE UPDATE OF id, name, currency, may_be_negative ON account
BEGIN SELECT RAISE(ABORT, 'only the balance of an account changes'); END;
CREATE TRIGGER account_stays BEFORE DELETE ON account
BEGIN SELECT RAISE(ABORT, 'accounts are never deleted'); END;

CREATE TABLE transfer (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    committed_at INTEGER NOT NULL
) STRICT;
CREATE TRIGGER transfer_no_update BEFORE UPDATE ON transfer
BEGIN SELECT RAISE(ABORT, 'transfers are insert-only'); END;
CREATE TRIGGER transfer_no_delete BEFORE DELETE ON transfer
BEGIN SELECT RAISE(ABORT, 'transfers are insert-only'); END;

CREATE TABLE entry (
    transfer INTEGER NOT NULL REFERENCES transfer (id),
    account INTEGER NOT NULL REFERENCES account (id),
    amount INTEGER NOT NULL CHECK (amount <> 0),
    PRIMARY KEY (transfer, account)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER entry_no_update BEFORE UPDATE ON entry
BEGIN SELECT RAISE(ABORT, 'entries are insert-only'); END;
CREATE TRIGGER entry_no_delete BEFORE DELETE ON entry
BEGIN SELECT RAISE(ABORT, 'entries are insert-only'); END;

-- The split (promo, paid, host_from_paid) is kept because refunds, holds and fraud rules need it.
CREATE TABLE gift (
    transfer INTEGER PRIMARY KEY REFERENCES transfer (id),
    room TEXT NOT NULL,
    sender TEXT NOT NULL,
    recipient TEXT NOT NULL,
    seat INTEGER NOT NULL,
    gift TEXT NOT NULL,
    price INTEGER NOT NULL CHECK (price > 0),
    count INTEGER NOT NULL CHECK (count BETWEEN 1 AND 999),
    coins INTEGER NOT NULL CHECK (coins = price * count),
    promo INTEGER NOT NULL CHECK (promo >= 0),
    paid INTEGER NOT NULL CHECK (paid >= 0),
    attempt TEXT,
    host TEXT,
    host_part INTEGER NOT NULL CHECK (host_part BETWEEN 0 AND coins),
    host_from_paid INTEGER NOT NULL CHECK (host_from_paid BETWEEN 0 AND host_part),
    combo TEXT NOT NULL,
    CHECK (promo + paid = coins),
    CHECK (sender <> recipient)
) STRICT;
CREATE INDEX gift_by_room ON gift (room);
CREATE TRIGGER gift_no_update BEFORE UPDATE ON gift
BEGIN SELECT RAISE(ABORT, 'gifts are insert-only'); END;
CREATE TRIGGER gift_no_delete BEFORE DELETE ON gift
BEGIN SELECT RAISE(ABORT, 'gifts are insert-only'); END;

CREATE TABLE gift_share (
    room TEXT NOT NULL,
    attempt TEXT NOT NULL,
    bps INTEGER NOT NULL CHECK (bps BETWEEN 0 AND 10000),
    cum INTEGER NOT NULL CHECK (cum >= 0),
    host INTEGER NOT NULL CHECK (host BETWEEN 0 AND cum),
    PRIMARY KEY (room, attempt)
) STRICT, WITHOUT ROWID;

CREATE TABLE combo (
    id TEXT PRIMARY KEY,
    sender TEXT NOT NULL,
    room TEXT NOT NULL,
    recipient TEXT NOT NULL,
    gift TEXT NOT NULL,
    price INTEGER NOT NULL CHECK (price > 0),
    n INTEGER NOT NULL CHECK (n > 0),
    last_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX combo_latest ON combo (sender, room, recipient, gift, price, last_at);

CREATE TABLE promo_lot (
    id INTEGER PRIMARY KEY,
    user TEXT NOT NULL,
    granted INTEGER NOT NULL CHECK (granted > 0),
    left INTEGER NOT NULL CHECK (left BETWEEN 0 AND granted),
    expires_at INTEGER NOT NULL
) STRICT;
CREATE INDEX promo_lot_open ON promo_lot (user, expires_at) WHERE left > 0;

-- One answer per (scope, key), in the same transaction as what it answers.
CREATE TABLE idempotency (
    id INTEGER PRIMARY KEY,
    scope TEXT NOT NULL,
    key TEXT NOT NULL,
    content_hash BLOB NOT NULL CHECK (length(content_hash) = 32),
    reply BLOB NOT NULL,
    room TEXT,
    transfer INTEGER NOT NULL REFERENCES transfer (id),
    at INTEGER NOT NULL,
    UNIQUE (scope, key)
) STRICT;
CREATE INDEX idempotency_by_age ON idempotency (at);
CREATE TRIGGER idempotency_no_update BEFORE UPDATE ON idempotency
BEGIN SELECT RAISE(ABORT, 'a stored reply never changes'); END;

CREATE TABLE starting_coins (
    user TEXT PRIMARY KEY,
    transfer INTEGER NOT NULL REFERENCES transfer (id)
) STRICT, WITHOUT ROWID;

CREATE TABLE audit (
    seq INTEGER PRIMARY KEY,
    chain TEXT NOT NULL,
    at INTEGER NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    transfer INTEGER REFERENCES transfer (id),
    why TEXT NOT NULL,
    prev_hash BLOB NOT NULL CHECK (length(prev_hash) = 32),
    hash BLOB NOT NULL CHECK (length(hash) = 32)
) STRICT;
CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit trail is insert-only'); END;
CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit trail is insert-only'); END;

-- One show; its slug may be used again when it has ended.
CREATE TABLE room (
    id INTEGER PRIMARY KEY,
    slug TEXT NOT NULL,
    host TEXT NOT NULL,
    title TEXT NOT NULL,
    settings TEXT NOT NULL DEFAULT '{}',
    opened_at INTEGER NOT NULL,
    started_at INTEGER,
    ended_at INTEGER,
    end_reason TEXT,
    summary TEXT
) STRICT;
CREATE UNIQUE INDEX room_open_slug ON room (slug) WHERE ended_at IS NULL;
CREATE TRIGGER room_ended_is_final BEFORE UPDATE ON room WHEN OLD.ended_at IS NOT NULL
BEGIN SELECT RAISE(ABORT, 'ended is final'); END;

CREATE TABLE ban (
    room TEXT NOT NULL,
    user TEXT NOT NULL,
    until INTEGER,
    PRIMARY KEY (room, user)
) STRICT, WITHOUT ROWID;

CREATE TABLE chat_mute (
    room TEXT NOT NULL,
    user TEXT NOT NULL,
    until INTEGER,
    PRIMARY KEY (room, user)
) STRICT, WITHOUT ROWID;

CREATE TABLE moderator (
    room TEXT NOT NULL,
    user TEXT NOT NULL,
    perms TEXT NOT NULL,
    PRIMARY KEY (room, user)
) STRICT, WITHOUT ROWID;

-- Only attempts that had media; the record is the room's own JSON.
CREATE TABLE attempt (
    room TEXT NOT NULL,
    guest TEXT NOT NULL,
    user TEXT NOT NULL,
    record TEXT NOT NULL,
    PRIMARY KEY (room, guest)
) STRICT, WITHOUT ROWID;

CREATE TABLE rules_accepted (
    user TEXT PRIMARY KEY,
    version TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE revocation (
    id TEXT PRIMARY KEY,
    until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
