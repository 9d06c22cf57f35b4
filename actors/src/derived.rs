//! One kind of an actor's messages, for a sender that may send nothing else.

/// Lets a [`DerivedActorRef`](ractor::DerivedActorRef) of `$what` send `$message::$variant`.
#[macro_export]
macro_rules! derived_message {
    ($message:ident::$variant:ident($what:ty)) => {
        impl From<$what> for $message {
            fn from(what: $what) -> Self {
                Self::$variant(what)
            }
        }

        impl TryFrom<$message> for $what {
            type Error = ();

            fn try_from(message: $message) -> Result<Self, ()> {
                match message {
                    $message::$variant(what) => Ok(what),
                    _ => Err(()),
                }
            }
        }
    };
}
