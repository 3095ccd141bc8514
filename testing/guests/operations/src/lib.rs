//! Tensor operations from inside the sandbox: by name for tests that compare results, and in numbers for
//! tests of limits and for benchmarks.

mod by_name;
mod hostile;

/// Runs tensor operations.
#[rialto_sdk::service]
pub mod operations {
    use crate::{by_name, hostile};
    use rialto_sdk::tensor::{Dtype, Matmul, Reduction, Source, Tensor, device};

    /// A tensor's content.
    pub struct Array {
        /// The element type's name.
        pub element: String,
        /// The extent of each axis.
        pub shape: Vec<u32>,
        /// Little-endian, row-major.
        pub data: Vec<u8>,
    }

    /// Runs one operation.
    pub fn run(
        /// Its name.
        op: String,
        /// Its attributes, in the order of the interface; lists after their length.
        attributes: Vec<f64>,
        /// Its operands.
        inputs: Vec<Array>,
    ) -> Result<Vec<Array>, String> {
        let inputs = inputs.iter().map(by_name::tensor);
        let inputs = inputs.collect::<Result<Vec<_>, _>>()?;
        let results = by_name::run(&op, &attributes, &inputs)?;
        results.iter().map(by_name::array).collect()
    }

    /// Adds one so many times, and reads the sum of all elements.
    pub fn chain(
        /// How many additions.
        length: u32,
        /// How many elements.
        elements: u32,
    ) -> Result<f32, String> {
        let one = Tensor::full(Dtype::F32, &[], 1.0)?;
        let mut x = Tensor::full(Dtype::F32, &[elements], 0.0)?;
        for _ in 0..length {
            x = x.add(&one)?;
        }
        first(&x.reduce_all(Reduction::Sum)?)
    }

    /// Makes operations and drops them, again and again; then reads one.
    pub fn churn(
        /// How often.
        times: u32,
    ) -> Result<f32, String> {
        let x = Tensor::full(Dtype::F32, &[4], 2.0)?;
        for _ in 0..times {
            let _ = x.exp()?;
        }
        first(&x)
    }

    /// Writes bytes into a tensor and reads them back, again and again.
    pub fn round_trip(
        /// How many bytes.
        bytes: u32,
        /// How often.
        times: u32,
    ) -> Result<u32, String> {
        let length = usize::try_from(bytes).map_err(|error| error.to_string())?;
        let mut data = vec![1_u8; length];
        for _ in 0..times {
            data = Tensor::from_u8(&[bytes], &data)?.to_bytes()?;
        }
        Ok(data.iter().map(|byte| u32::from(*byte)).sum())
    }

    /// Multiplies square matrices of random numbers, again and again, and sums the last product.
    pub fn products(
        /// Rows and columns.
        size: u32,
        /// How often.
        times: u32,
    ) -> Result<f32, String> {
        let matrix = |seed| {
            let source = Source::new(seed);
            Tensor::random_uniform(Dtype::F32, &[size, size], source, -1.0..1.0)
        };
        let (left, right) = (matrix(1)?, matrix(2)?);
        Tensor::evaluate(&[&left, &right])?;
        let mut product = left.matmul(&right)?;
        Tensor::evaluate(&[&product])?;
        for _ in 1..times {
            product = left.matmul_with(&right, &Matmul::new())?;
            Tensor::evaluate(&[&product])?;
        }
        first(&product.reduce_all(Reduction::Sum)?)
    }

    /// Holds tensors until it is refused, and returns how many it got and why no more.
    pub fn hoard(
        /// Bytes of each.
        bytes: u32,
        /// Whether they are computed at once.
        computed: bool,
    ) -> Vec<String> {
        let mut held = Vec::new();
        loop {
            let made = Tensor::full(Dtype::U8, &[bytes], 1_i64);
            let made = made.and_then(|made| {
                if computed {
                    Tensor::evaluate(&[&made])?;
                }
                Ok(made)
            });
            match made {
                Ok(tensor) => held.push(tensor),
                Err(error) => return vec![held.len().to_string(), error.into()],
            }
        }
    }

    /// Sums large tensors one after another and keeps the sums alone; returns their sum.
    pub fn sums(
        /// Bytes of each large tensor.
        bytes: u32,
        /// How many.
        times: u32,
    ) -> Result<f32, String> {
        let mut kept = Vec::new();
        for _ in 0..times {
            let large = Tensor::full(Dtype::F32, &[bytes / 4], 1.0)?;
            Tensor::evaluate(&[&large])?;
            kept.push(large.reduce_all(Reduction::Sum)?);
        }
        let mut total = 0.0;
        for sum in &kept {
            total += first(sum)?;
        }
        Ok(total)
    }

    /// Calls every operation with random arguments; returns how many fitted and how many did not.
    pub fn attack(
        /// Where the random numbers start.
        seed: u64,
        /// How many calls.
        calls: u32,
    ) -> Vec<u32> {
        hostile::attack(seed, calls)
    }

    /// The names of the host's devices, and of the one in use.
    pub fn devices() -> Result<Vec<String>, String> {
        let mut names: Vec<String> = device::list().into_iter().map(|it| it.name).collect();
        names.push(device::current()?.name);
        Ok(names)
    }

    /// Computes on one device, goes on on another, and reads.
    pub fn travel(
        /// The other device's name.
        name: String,
    ) -> Result<f32, String> {
        let x = Tensor::full(Dtype::F32, &[4], 2.0)?;
        let recorded = x.mul(&x)?;
        device::choose(&name)?;
        first(&recorded.add(&x)?)
    }

    fn first(tensor: &Tensor) -> Result<f32, String> {
        let values = tensor.to_f32()?;
        values.first().copied().ok_or_else(|| "nothing".to_owned())
    }
}
