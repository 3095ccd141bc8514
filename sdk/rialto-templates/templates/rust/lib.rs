//! `{{name}}`: the service's interface is the module below, its public functions are the methods.

/// What a text is made of.
#[rialto_sdk::service]
pub mod texts {
    use rialto_sdk::log;

    const WORDS_PER_MINUTE: u32 = 200;

    /// A text to measure.
    pub struct Document {
        /// The text itself, with at least one word.
        pub text: String,
        /// How many words its readers read in a minute; 200 if left out.
        pub words_per_minute: Option<u32>,
    }

    /// What was found.
    pub struct Measures {
        /// Pieces between white space.
        pub words: u32,
        /// The longest of them, the first of several.
        pub longest: String,
        /// How long reading takes, in seconds.
        pub reading_seconds: f64,
    }

    /// Counts the words of a text and estimates how long reading it takes.
    pub fn measure(document: Document) -> Result<Measures, String> {
        let found = count(&document)?;
        log::info(&format!("measured {} words", found.words));
        Ok(found)
    }

    fn count(document: &Document) -> Result<Measures, String> {
        let mut words = 0_u32;
        let mut longest = "";
        for word in document.text.split_whitespace() {
            words += 1;
            if word.chars().count() > longest.chars().count() {
                longest = word;
            }
        }
        if words == 0 {
            return Err("`text` has no words".to_owned());
        }
        let words_per_minute = document.words_per_minute.unwrap_or(WORDS_PER_MINUTE);
        if words_per_minute == 0 {
            return Err("`words_per_minute` is 0: nobody would finish".to_owned());
        }
        Ok(Measures {
            words,
            longest: longest.to_owned(),
            reading_seconds: f64::from(words) * 60.0 / f64::from(words_per_minute),
        })
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        fn document(text: &str, words_per_minute: Option<u32>) -> Document {
            Document {
                text: text.to_owned(),
                words_per_minute,
            }
        }

        #[test]
        fn words_are_counted() {
            let found = count(&document(" to measure\nis to know ", Some(100))).unwrap();
            assert_eq!((found.words, found.longest.as_str()), (5, "measure"));
            assert_eq!(found.reading_seconds, 3.0);
        }

        #[test]
        fn readers_read_200_words_a_minute_unless_the_caller_knows_better() {
            let found = count(&document("one two", None)).unwrap();
            assert_eq!(found.reading_seconds, 0.6);
        }

        #[test]
        fn what_cannot_be_measured_is_refused_with_the_reason() {
            assert_eq!(
                count(&document(" \n", None)).unwrap_err(),
                "`text` has no words"
            );
            let error = count(&document("word", Some(0))).unwrap_err();
            assert!(error.starts_with("`words_per_minute` is 0"), "{error}");
        }
    }
}
