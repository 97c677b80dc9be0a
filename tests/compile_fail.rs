//! What must not compile: a permit made outside the rules or used twice, a part opened without one, a secret that is printed
//! or copied. Each case stands alone in `compile_fail/`, with the compiler's words beside it.

#[test]
fn what_must_not_compile_does_not() {
    trybuild::TestCases::new().compile_fail("tests/compile_fail/*.rs");
}
