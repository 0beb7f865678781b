internal import Deploy
internal import EngineAPI

struct StackPlanner {
    let planner: Planner
    let want: Want
    let manager: Facts

    func plan() -> Plan {
        var plan = Plan()
        plan.problems.append("\(want.name): stacks cannot be deployed yet")
        return plan
    }
}
