//! The forms of a receipt's type. They differ in what they tell of the use alone: each later one tells all that
//! the one before it tells, and more. Names, order and types of all fields are part of the hashes.

/// One form: its structures, as Solidity writes them, and how they are filled in.
macro_rules! form {
    ($(#[$doc:meta])* $name:ident { $($field:ident = $($of:ident).+,)* } $($links:ident $hires:ident $spent:ident $parent:ident)?) => {
        $(#[$doc])*
        pub(crate) mod $name {
            use alloy_primitives::B256;

            use crate::{Amount, ChannelId, receipt};

            alloy_sol_types::sol! {
                $(
                struct Links {
                    uint64 $hires;
                    uint128 $spent;
                    bytes32 $parent;
                })?
                struct Usage {
                    $(uint64 $field;)*
                }
                struct Receipt {
                    bytes32 id;
                    bytes32 channelId;
                    address payer;
                    address provider;
                    uint64 chainId;
                    address token;
                    string service;
                    string version;
                    bytes32 component;
                    bytes32[] models;
                    string method;
                    bytes32 request;
                    bytes32 response;
                    Usage usage;
                    uint128 price;
                    uint128 before;
                    uint128 charged;
                    uint128 after;
                    uint64 issuedAt;
                    string engine;
                    bool deterministic;
                    bytes32 previous;
                    $(Links $links;)?
                }
            }

            impl From<&receipt::Receipt> for Receipt {
                fn from(of: &receipt::Receipt) -> Self {
                    Self {
                        id: of.id,
                        channelId: of.channel.map_or(B256::ZERO, |channel| channel.0),
                        payer: of.payer,
                        provider: of.provider,
                        chainId: of.chain_id,
                        token: of.token,
                        service: of.service.clone(),
                        version: of.version.clone(),
                        component: of.component,
                        models: of.models.clone(),
                        method: of.method.clone(),
                        request: of.request,
                        response: of.response,
                        usage: Usage {
                            $($field: of.usage.$($of).+,)*
                        },
                        price: of.price.get(),
                        before: of.before.get(),
                        charged: of.charged.get(),
                        after: of.after.get(),
                        issuedAt: of.issued_at,
                        engine: of.engine.clone(),
                        deterministic: of.deterministic,
                        previous: of.previous,
                        $($links: Links {
                            $hires: of.usage.hires.calls,
                            $spent: of.usage.hires.spent.get(),
                            $parent: of.parent.unwrap_or_default(),
                        },)?
                    }
                }
            }

            impl From<Receipt> for receipt::Receipt {
                fn from(of: Receipt) -> Self {
                    let mut usage = receipt::Usage::default();
                    $(usage.$($of).+ = of.usage.$field;)*
                    let parents: &[B256] = &[$(of.$links.$parent)?];
                    let parent = parents.first().copied().filter(|parent| !parent.is_zero());
                    $(
                        usage.hires.calls = of.$links.$hires;
                        usage.hires.spent = Amount::new(of.$links.$spent);
                    )?
                    Self {
                        id: of.id,
                        channel: (!of.channelId.is_zero()).then_some(ChannelId(of.channelId)),
                        payer: of.payer,
                        provider: of.provider,
                        chain_id: of.chainId,
                        token: of.token,
                        service: of.service,
                        version: of.version,
                        component: of.component,
                        models: of.models,
                        method: of.method,
                        request: of.request,
                        response: of.response,
                        usage,
                        price: Amount::new(of.price),
                        before: Amount::new(of.before),
                        charged: Amount::new(of.charged),
                        after: Amount::new(of.after),
                        issued_at: of.issuedAt,
                        engine: of.engine,
                        deterministic: of.deterministic,
                        previous: of.previous,
                        parent,
                    }
                }
            }
        }
    };
}

/// Forms that each add to the one before.
macro_rules! forms {
    ([$($before:tt)*]) => {};
    ([$($before:tt)*] $(#[$doc:meta])* $name:ident { $($more:tt)* } $(with $($links:ident)+)? ; $($rest:tt)*) => {
        form!($(#[$doc])* $name { $($before)* $($more)* } $($($links)+)?);
        forms!([$($before)* $($more)*] $($rest)*);
    };
}

forms! {
    []
    /// Version `1`, whose type does not know devices.
    plain {
        guestTimeMicros = guest_time_us,
        hostTimeMicros = host_time_us,
        memoryPeakBytes = memory_peak_bytes,
        hostCalls = host_calls,
        inputBytes = input_bytes,
        outputBytes = output_bytes,
        tensorRuns = tensor_runs,
    };
    /// Version `2`: calls that used a device, and what of it they used.
    device {
        deviceTimeMicros = device.time_us,
        multiplyAdds = device.multiply_adds,
        movedBytes = device.moved_bytes,
        tokensRead = device.tokens_read,
        tokensWritten = device.tokens_written,
    };
    /// Version `3`: all that was metered, what no price counts too.
    metered {
        wallTimeMicros = limits.wall_time_us,
        waitedMicros = limits.waited_us,
        tablePeakElements = limits.table_peak_elements,
        handlesPeak = limits.handles_peak,
        hostBytes = limits.host_bytes,
        tensorPeakBytes = limits.tensor_peak_bytes,
        sessionPeakBytes = limits.session_peak_bytes,
        outboundRequests = limits.outbound_requests,
        outboundBytes = limits.outbound_bytes,
        stateBytes = limits.state_bytes,
        logLines = limits.log_lines,
    };
    /// Version `4`: calls that were made for another call, or that paid for others.
    linked {} with links hires spent parent;
}
