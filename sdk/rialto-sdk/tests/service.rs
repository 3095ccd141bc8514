//! The macro on a module that uses every kind of type: it must compile, and the author's types must be
//! the generated ones.

/// A harbour.
#[rialto_sdk::service]
mod harbour {
    use std::fmt;

    /// A boat.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Boat {
        /// Painted on its side.
        pub name: String,
        pub type_: Kind,
        pub length_m: Option<f64>,
        pub top_5: Vec<(u8, char)>,
    }

    /// How a boat moves.
    pub enum Kind {
        /// By wind.
        SailBoat,
        Motor,
    }

    /// Why a boat may not enter.
    pub enum Refusal {
        Full,
        TooLong(f64),
        Other(Boat),
    }

    /// Private types stay as they are.
    struct Berth<'a>(&'a str);

    impl fmt::Display for Berth<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    pub(crate) fn shout(name: &str) -> String {
        Berth(name).to_string().to_uppercase()
    }

    /// Lets a boat in.
    pub fn enter(
        /// The boat.
        mut boat: Boat,
        berths: u32,
    ) -> Result<Boat, Refusal> {
        match boat.length_m {
            _ if berths == 0 => Err(Refusal::Full),
            Some(length) if length > 12.0 => Err(Refusal::TooLong(length)),
            _ if boat.name.is_empty() => Err(Refusal::Other(boat)),
            _ => {
                boat.name = shout(&boat.name);
                Ok(boat)
            }
        }
    }

    pub fn close() {}

    pub fn count(bytes: Vec<u8>, type_: Kind) -> (u64, Kind) {
        (bytes.len() as u64, type_)
    }

    pub fn check(enter: bool) -> Result<(), String> {
        if enter { Ok(()) } else { Err("no".to_owned()) }
    }
}

use harbour::{Boat, Kind, Refusal};

fn boat(name: &str, length: f64) -> Boat {
    Boat {
        name: name.to_owned(),
        type_: Kind::SailBoat,
        length_m: Some(length),
        top_5: vec![(1, 'a')],
    }
}

#[test]
fn the_authors_functions_work_on_the_generated_types() {
    let heron = harbour::enter(boat("Heron", 9.5), 1).unwrap();
    assert_eq!(heron, boat("HERON", 9.5));
    assert_eq!(harbour::enter(boat("a", 1.0), 0), Err(Refusal::Full));
    assert_eq!(
        harbour::enter(boat("a", 13.0), 1),
        Err(Refusal::TooLong(13.0))
    );
    assert_eq!(
        harbour::enter(boat("", 1.0), 1),
        Err(Refusal::Other(boat("", 1.0)))
    );
    harbour::close();
    assert_eq!(harbour::count(vec![1, 2], Kind::Motor), (2, Kind::Motor));
    assert_eq!(harbour::check(true), Ok(()));
    assert!(harbour::check(false).is_err());
}
