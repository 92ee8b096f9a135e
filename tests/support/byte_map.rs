//! The byte map of a segment's control part, copied from `docs/protocol.md`.
//!
//! Not from the crate's code: where the two disagree a test that uses this fails.

/// Offsets of the control part, by the names of the byte map.
pub(crate) mod at {
    pub(crate) const CONTROL: usize = 0x010;
    pub(crate) const CAPACITY: usize = 0x018;
    pub(crate) const TX_LOCK: usize = 0x080;
    pub(crate) const TX_STATE: usize = 0x090;
    pub(crate) const TX_EPOCH: usize = 0x094;
    pub(crate) const TX_TAIL: usize = 0x098;
    pub(crate) const TX_HEAD_SEEN: usize = 0x0a0;
    pub(crate) const RX_LOCK: usize = 0x100;
    pub(crate) const RX_READ: usize = 0x118;
    pub(crate) const RX_REASSEMBLY_STATE: usize = 0x130;
    pub(crate) const RX_REASSEMBLY_OWNER: usize = 0x138;
    pub(crate) const HEAD: usize = 0x180;
    pub(crate) const DATA: usize = 0x200;
    pub(crate) const ROOM: usize = 0x280;
    pub(crate) const TX_COUNTERS: usize = 0x300;
    pub(crate) const RX_COUNTERS: usize = 0x380;
    /// Inside an Event.
    pub(crate) const ARMED: usize = 0x00;
    pub(crate) const BELL: usize = 0x04;
    pub(crate) const CLOSES: usize = 0x08;
    pub(crate) const TAKES_RUNS: usize = 0x20;
}

/// Every field of the control part: its name, offset and length in bytes.
pub(crate) const FIELDS: [(&str, usize, usize); 78] = [
    ("magic", 0x000, 8),
    ("version", 0x008, 4),
    ("kind", 0x00c, 4),
    ("control", at::CONTROL, 4),
    ("flags", 0x014, 4),
    ("capacity", at::CAPACITY, 8),
    ("rx", 0x020, 8),
    ("tx", 0x028, 8),
    ("limit", 0x030, 8),
    ("created", 0x038, 8),
    ("spin", 0x060, 8),
    ("rx.inode", 0x040, 8),
    ("tx.inode", 0x048, 8),
    ("rx.ancillary", 0x050, 8),
    ("tx.ancillary", 0x058, 8),
    ("tx.lock.word", at::TX_LOCK, 4),
    ("tx.lock.namespace", 0x088, 8),
    ("tx.state", at::TX_STATE, 4),
    ("tx.tail", at::TX_TAIL, 8),
    ("tx.head_seen", at::TX_HEAD_SEEN, 8),
    ("tx.epoch", at::TX_EPOCH, 4),
    ("tx.messages", 0x0a8, 8),
    ("tx.bytes", 0x0b0, 8),
    ("tx.sender.id", 0x0b8, 4),
    ("tx.sender.token", 0x0bc, 4),
    ("tx.sender.birth", 0x0c0, 8),
    ("tx.sender.namespace", 0x0c8, 8),
    ("tx.ticket", 0x0d0, 8),
    ("tx.end", 0x0d8, 8),
    ("tx.cut", 0x0e0, 8),
    ("tx.handed", 0x0e8, 4),
    ("tx.claimed", 0x0f0, 8),
    ("rx.lock.word", at::RX_LOCK, 4),
    ("rx.lock.namespace", 0x108, 8),
    ("rx.epoch", 0x110, 4),
    ("rx.read", at::RX_READ, 8),
    ("rx.begun_at", 0x120, 8),
    ("rx.reassembly.state", at::RX_REASSEMBLY_STATE, 4),
    ("rx.reassembly.owner.id", at::RX_REASSEMBLY_OWNER, 4),
    ("rx.reassembly.owner.token", 0x13c, 4),
    ("rx.reassembly.owner.birth", 0x140, 8),
    ("rx.reassembly.owner.namespace", 0x148, 8),
    ("rx.reassembly.end", 0x150, 8),
    ("head", at::HEAD, 8),
    ("data.armed", at::DATA + at::ARMED, 4),
    ("data.bell", at::DATA + at::BELL, 4),
    ("data.closes", at::DATA + at::CLOSES, 4),
    ("data.peer_cpu", at::DATA + 0x0c, 4),
    ("data.wake_at", at::DATA + 0x10, 8),
    ("data.rung_at", at::DATA + 0x18, 8),
    ("data.takes_runs", at::DATA + at::TAKES_RUNS, 4),
    ("room.armed", at::ROOM + at::ARMED, 4),
    ("room.bell", at::ROOM + at::BELL, 4),
    ("room.closes", at::ROOM + at::CLOSES, 4),
    ("room.peer_cpu", at::ROOM + 0x0c, 4),
    ("room.wake_at", at::ROOM + 0x10, 8),
    ("room.rung_at", at::ROOM + 0x18, 8),
    ("tx_counters.largest", at::TX_COUNTERS, 8),
    ("tx_counters.high_water", at::TX_COUNTERS + 0x08, 8),
    ("tx_counters.spins", at::TX_COUNTERS + 0x10, 8),
    ("tx_counters.sleeps", at::TX_COUNTERS + 0x18, 8),
    ("tx_counters.blocked", at::TX_COUNTERS + 0x20, 8),
    ("tx_counters.since", at::TX_COUNTERS + 0x28, 8),
    ("tx_counters.aborted", at::TX_COUNTERS + 0x30, 8),
    ("tx_counters.activity", at::TX_COUNTERS + 0x38, 8),
    ("rx_counters.largest", at::RX_COUNTERS, 8),
    ("rx_counters.high_water", at::RX_COUNTERS + 0x08, 8),
    ("rx_counters.spins", at::RX_COUNTERS + 0x10, 8),
    ("rx_counters.sleeps", at::RX_COUNTERS + 0x18, 8),
    ("rx_counters.blocked", at::RX_COUNTERS + 0x20, 8),
    ("rx_counters.since", at::RX_COUNTERS + 0x28, 8),
    ("rx_counters.aborted", at::RX_COUNTERS + 0x30, 8),
    ("rx_counters.activity", at::RX_COUNTERS + 0x38, 8),
    // Words that belong to nobody: writing there must mean nothing.
    ("unused behind tx", 0x0f8, 8),
    ("unused behind rx", 0x178, 8),
    ("unused behind head", 0x1f8, 8),
    ("unused behind room", 0x2f8, 8),
    ("unused behind the counters", 0x400, 8),
];
