//! Sites that are passed through unopened, chosen by the name in the first message.
