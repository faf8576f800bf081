//! Every interleaving of the models, by loom.

#[test]
fn a_rollback_counts_every_request_that_reaches_the_canary() {
    loom::model(haldane_model::a_rollback_counts_every_request_that_reaches_the_canary);
}

#[test]
fn a_tally_is_never_ahead_of_what_it_depends_on() {
    loom::model(haldane_model::a_tally_is_never_ahead_of_what_it_depends_on);
}

#[test]
fn a_canary_that_was_replaced_gets_no_request_of_the_next_generation() {
    loom::model(haldane_model::a_canary_that_was_replaced_gets_no_request_of_the_next_generation);
}
