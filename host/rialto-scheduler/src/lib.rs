//! Decides whose work a device does next, and with whose together.
//!
//! Tenants share a device by weight: each gets device time in proportion, whatever the others ask for,
//! and what one leaves unused goes to the rest. A tenant may also have a quota of device time, which
//! it does not exceed even on an idle device. Work of several tenants that fits together (the same
//! model, inputs of the same shapes) is done as one batch, and each is charged its part. Every queue is
//! bounded, and what does not fit is refused at once with the time after which to come again.
//!
//! [`Scheduler`] decides about a device's time, [`Memory`] about its bytes, [`Admission`] about which calls
//! run on a host at all, [`Limit`] about how many of them at once, [`surplus`] about what is put aside when
//! memory is short, [`Quarantine`] about services that keep failing.
//! All are pure: they know no thread and no clock. The caller says what time it is,
//! does the work, and says how long it took.
//!
//! Non-goals: doing the work, stopping it half-way (a device does not), which device.

mod admission;
mod limit;
mod memory;
mod quarantine;
mod quota;
mod residents;
mod scheduler;
mod tenant;

pub use admission::{
    AGED, Admission, Ask, Capacity, Order, PASSED_MAX, PayerLimits, Payers, Seat, TenantLimits,
    TicketId, Turned,
};
pub use limit::{Bounds, Limit};
pub use memory::{Held, Memory, MemoryError};
pub use quarantine::{End, Entry, Quarantine, QuarantinePolicy};
pub use quota::Quota;
pub use residents::{Resident, surplus};
pub use scheduler::{Batch, BatchId, Config, Job, JobId, Refused, Scheduler, Waiting};
pub use tenant::{Share, Tenant, Use};
