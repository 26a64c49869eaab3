//! The standalone types, each judged by its reading rule.

#[path = "support/types.rs"]
mod subjects;

use driftless::testing::judge;
use driftless::{
    DwFlag, EwFlag, GCounter, LwwRegister, MaxRegister, MinRegister, MvRegister, OrMap, OrSet, PnCounter, RwSet,
};
use proptest::prelude::*;
use subjects::{Judged, Op, Subject};

fn ops<T: Subject>() -> impl Strategy<Value = Op> {
    let op = prop_oneof![
        5 => (0..3u8, 0..6u8).prop_map(|(k, v)| Op::Put(k, v)),
        3 => (0..3u8).prop_map(Op::Take),
        1 => Just(Op::Clear),
    ];
    op.prop_map(T::normal)
}

macro_rules! judged {
    ($($test:ident: $subject:ty),* $(,)?) => {$(
        #[test]
        fn $test() {
            let report = judge::<Judged<$subject>>(ops::<$subject>(), 80);
            println!("{report}");
            let share = report.cases.of("concurrency");
            assert!(share > 0.5, "concurrent operations in {share} of the cases");
        }
    )*};
}

judged! {
    lww_register_reads_what_its_rule_says: LwwRegister<u8>,
    mv_register_reads_what_its_rule_says: MvRegister<u8>,
    max_register_reads_what_its_rule_says: MaxRegister<u8>,
    min_register_reads_what_its_rule_says: MinRegister<u8>,
    ew_flag_reads_what_its_rule_says: EwFlag,
    dw_flag_reads_what_its_rule_says: DwFlag,
    or_set_reads_what_its_rule_says: OrSet<u8>,
    rw_set_reads_what_its_rule_says: RwSet<u8>,
    or_map_reads_what_its_rule_says: OrMap<u8, u8>,
    g_counter_reads_what_its_rule_says: GCounter,
    pn_counter_reads_what_its_rule_says: PnCounter,
}
