"""What a real Erlang shell and its tools find out about a murre node by rpc: processes, system, msacc, lcnt, etop; compared with murrectl of
the same node. And what cannot work there: that it says so, and soon."""
import os, re, select, subprocess, sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import rig
from rig import COOKIE, Epmd, LIMIT
from test_mesh import ME, Murre, said, xmpp

# R evaluates a call there and prints its value on one line.
R = 'R = fun(M, F, A) -> io:format("~0p~n", [rpc:call(N, M, F, A)]) end, '
# Pids as murrectl prints them: <node.shard.slot.generation>.
PID = """Ctl = fun(P) -> <<131, 88, T/binary>> = term_to_binary(P), S = byte_size(T) - 12, <<_:S/binary, Id:32, Serial:32, _:32>> = T,
         io_lib:format("<0.~b.~b.~b>", [Id bsr 24, Id band 16#ffffff, Serial]) end, """


def asked(epmd, code):
    return said(epmd, R + PID + code)


def test_processes_are_the_actors():
    "processes() are the pids of murrectl actors; names, classes, queues and what they are linked to are the same."
    with Epmd() as epmd, Murre(epmd) as s:
        got = asked(epmd, """
            Ps = rpc:call(N, erlang, processes, []),
            [begin [{registered_name, Name}, {initial_call, {Class, init, 3}}, {links, Ls}, {parent, Up}] =
                       rpc:call(N, erlang, process_info, [P, [registered_name, initial_call, links, parent]]),
                   io:format("~s ~s ~0p ~w ~s~n", [Ctl(P), Class, Name, length(Ls), case Up of undefined -> "-"; _ -> Ctl(Up) end]) end
             || P <- Ps, rpc:call(N, erlang, is_process_alive, [P]) =:= true, rpc:call(N, erlang, process_info, [P, links]) =/= undefined],""")
        rows = {r.split()[0]: r.split()[1:] for r in got}
        here = {a["pid"]: a for a in s.ctl("actors")}
        links = {p for p, r in rows.items() if r[0] == "link"}  # the connection that asked is gone
        assert len(links) == 1 and set(rows) - links == set(here), (set(rows) ^ set(here))
        for pid, (cls, name, n, parent) in rows.items():
            if pid in links:
                continue
            one = s.ctl("actor", "info", pid)
            assert cls == one["class"] and name.strip("'") == (one["name"] or "[]"), (pid, cls, name, one)
            assert one["links"] == int(n) or one["related"] == [] or cls == "sup", (pid, n, one)
            assert parent == (one["parent"] or "<0.0.0.0>") or not one["parent"], (pid, parent, one)


def test_names_and_process_info():
    "registered() and whereis agree; process_info has OTP's forms; what no actor has is badarg or empty."
    with Epmd() as epmd, Murre(epmd) as s:
        got = asked(epmd, """
            Names = rpc:call(N, erlang, registered, []),
            io:format("~0p~n", [lists:all(fun(X) -> is_pid(rpc:call(N, erlang, whereis, [X])) end, Names)]),
            P = rpc:call(N, erlang, whereis, [net_kernel]),
            R(erlang, process_info, [P, registered_name]),
            R(erlang, process_info, [P, [message_queue_len, trap_exit, current_function, heap_size, dictionary]]),
            R(erlang, process_info, [P, []]),
            {badrpc, {'EXIT', {badarg, _}}} = rpc:call(N, erlang, process_info, [P, messages]),
            {badrpc, {'EXIT', {badarg, _}}} = rpc:call(N, erlang, process_info, [self()]),
            {registered_name, net_kernel} = hd(rpc:call(N, erlang, process_info, [P])),
            M = rpc:call(N, erlang, process_info, [P, memory]), io:format("~0p ~s~n", [M, Ctl(P)]),
            io:format("~s~n", [lists:join(" ", [atom_to_list(X) || X <- Names])]),""")
        assert got[:4] == ["true", "{registered_name,net_kernel}",
                           "[{message_queue_len,0},{trap_exit,true},{current_function,{net_kernel,handle,3}},{heap_size,0},{dictionary,[]}]", "[]"], got
        memory, pid = got[4].split(" ")
        one = next(a for a in s.ctl("actors") if a["pid"] == pid)
        assert memory == "{memory,%d}" % one["memory_bytes"] or one["memory_bytes"] > 0, (memory, one)
        assert set(got[5].split()) >= {a["name"] for a in s.ctl("actors") if a["name"]}, got[5]


def test_the_system():
    "system_info, statistics and memory say what murrectl says, in OTP's terms."
    with Epmd() as epmd, Murre(epmd) as s:
        got = asked(epmd, """
            [R(erlang, system_info, [X]) || X <- [schedulers, schedulers_online, process_limit, ets_count, version, {wordsize, external}, creation]],
            {T, D} = rpc:call(N, erlang, statistics, [wall_clock]), true = T >= D,
            io:format("~0p~n", [[{I, A =< W} || {I, A, W} <- rpc:call(N, erlang, statistics, [scheduler_wall_time])]]),
            Mem = rpc:call(N, erlang, memory, []), V = fun(K) -> proplists:get_value(K, Mem) end,
            io:format("~0p~n", [{V(total) =:= V(processes) + V(system), V(processes) > 0, V(ets) > 0, V(ets) =< V(system), V(atom)}]),
            io:format("~0p~n", [is_integer(rpc:call(N, erlang, memory, [total]))]),
            Sec = rpc:call(N, erlang, system_time, [second]), io:format("~0p~n", [abs(Sec - erlang:system_time(second)) < 60]),
            A = rpc:call(N, erlang, monotonic_time, []), B = rpc:call(N, erlang, monotonic_time, []), io:format("~0p~n", [A =< B]),
            {badrpc, {'EXIT', {badarg, _}}} = rpc:call(N, erlang, statistics, [runtime]),
            {badrpc, {'EXIT', {badarg, _}}} = rpc:call(N, erlang, system_info, [nothing]),""")
        tables = len(s.ctl("tables", "list", "1000"))
        version = subprocess.run([rig.BUILD + "/murre", "version"], capture_output=True, text=True).stdout.split()[1]
        assert got[:6] == ["2", "2", str(2 << 24), str(tables), f'"{version}"', "8"], got
        assert int(got[6]) > 3
        assert got[7:] == ["[{1,true},{2,true}]", "{true,true,true,true,0}", "true", "true", "true"], got


def test_msacc():
    "OTP's own msacc prints what is collected here; the threads and their times are those of murrectl msacc. Stopping and starting is an event."
    with Epmd() as epmd, Murre(epmd) as s:
        before = {r["thread"]: r["usec"] for r in s.ctl("msacc")}
        got = asked(epmd, """
            Stats = rpc:call(N, msacc, stats, []), msacc:print(Stats),
            [io:format("thread ~s ~b ~b~n", [T, I, maps:fold(fun(_, V, Sum) -> V + Sum end, 0, C)]) || #{type := T, id := I, counters := C} <- Stats],
            io:format("~0p~n", [[rpc:call(N, msacc, F, []) || F <- [available, stop, stop, start, reset]]]),
            R(erlang, system_flag, [microstate_accounting, true]),
            rpc:call(N, msacc, print, []), io:format("printed~n"),
            [] = [X || #{counters := X} <- rpc:call(N, erlang, statistics, [microstate_accounting]), map_size(X) =/= 10],""")
        after = {r["thread"]: r["usec"] for r in s.ctl("msacc")}
        threads = {(g.split()[1], int(g.split()[2])): int(g.split()[3]) for g in got if g.startswith("thread ")}
        assert len(threads) == len(before) and set(before) == set(after)
        for name, usec in before.items():
            kind, number = re.fullmatch(r"(?:pool )?(\w+)[ /](\d+)", name).groups()
            theirs = threads[("scheduler", int(number) + 1) if kind == "shard" else (kind, int(number))]
            assert theirs >= usec, (name, usec, theirs)
        assert "Stats per thread:" in got and any(g.startswith(" scheduler( 1)") for g in got), got
        assert "[true,true,false,false,true]" in got and "true" in got, got
        assert [g for g in got if re.match(r" +shard\( 0\)", g)], got  # msacc:print over rpc prints murrectl's own text, in the shell that asked
        assert s.event("mesh_changed") == 5


def test_lcnt():
    "lcnt:collect of a node, then conflicts, inspect and locations work on what came; the locks are those of murrectl locks."
    with Epmd() as epmd, Murre(epmd) as s:
        s.ctl("locks", "on")
        got = asked(epmd, """
            lcnt:start(), ok = lcnt:collect(N), Raw = lcnt:raw(),
            [io:format("lock ~s ~0p ~s ~b~n", [element(2, L), element(3, L), element(4, L), lists:sum([element(4, X) || X <- element(5, L)])]) || L <- Raw],
            io:format("~0p~n", [lcnt:rt_mask(N)]),
            lcnt:conflicts(), lcnt:inspect(mailbox, [{combine, false}]), lcnt:locations([{thresholds, []}]), lcnt:information(),
            lcnt:inspect(pool, [{locations, true}, {combine, false}]),
            ok = lcnt:clear(N), ok = lcnt:collect(N), ok = lcnt:rt_mask(N, []), io:format("~0p~n", [lcnt:rt_mask(N)]),
            io:format("~0p~n", [element(1, lcnt:rt_opt(N, {copy_save, true}))]),""")
        locks = [g.split() for g in got if g.startswith("lock ") and len(g.split()) == 5]
        here = s.ctl("locks", "instances")
        assert {(name, i.strip('"')) for _, name, i, _, _ in locks} == {(r["lock"], r["id"]) for r in here}
        tries = sum(int(n) for _, name, _, kind, n in locks if kind == "mutex")
        assert tries > 0 and sum(int(n) for _, name, _, _, n in locks if name == "mailbox") > 0, locks
        assert "[generic]" in got and "[]" in got and "badrpc" in got, got
        text = "\n".join(got)
        assert re.search(r"duration : \d+ us", text) and "src/rt/pool.c" in text and re.search(r"mailbox +0", text), text
        assert s.event("mesh_changed") == 2


def test_etop_and_observer():
    "What their backend sends from here has the shape of what it sends from a real node, and the contents of murrectl."
    with Epmd() as epmd, Murre(epmd) as s:
        got = asked(epmd, """
            Of = fun(X) -> P = spawn_link(X, observer_backend, etop_collect, [self()]), receive {P, I} -> I end end,
            Procs = fun(X) -> P = spawn_link(X, observer_backend, procs_info, [self()]), receive {procs_info, P, I} -> I end end,
            Kind = fun(X) when is_list(X) -> list; (X) when is_tuple(X) -> {tuple, size(X)}; (X) when is_integer(X) -> int; (X) when is_pid(X) -> pid; (X) -> X end,
            Shape = fun(X) -> [Kind(E) || E <- tuple_to_list(X)] end,
            _ = Of(node()), timer:sleep(1), Mine = Of(node()), Theirs = Of(N),
            io:format("~0p~n", [Shape(Mine) =:= Shape(Theirs)]),
            Keys = fun(X) -> [K || {K, V} <- element(8, X), is_integer(V)] end, io:format("~0p~n", [Keys(Mine) =:= Keys(Theirs)]),
            Named = fun(X) -> hd([E || E <- element(9, X), is_atom(element(5, E))]) end,
            Nameless = fun(X) -> hd([E || E <- element(9, X), is_tuple(element(5, E))]) end,
            io:format("~0p~n", [{Shape(setelement(5, Named(Mine), x)) =:= Shape(setelement(5, Named(Theirs), x)), Shape(Nameless(Mine)) =:= Shape(Nameless(Theirs))}]),
            io:format("~0p~n", [{length(element(9, Theirs)) =:= element(3, Theirs), length(Procs(N)) > 10}]),
            io:format("~0p~n", [[K || {K, _} <- rpc:call(N, observer_backend, sys_info, [])] -- [K || {K, _} <- observer_backend:sys_info()]]),
            {ok, _} = rpc:call(N, observer_backend, vsn, []),
            Tables = rpc:call(N, observer_backend, get_table_list, [ets, []]), Own = observer_backend:get_table_list(ets, [{sys_hidden, false}]),
            io:format("~0p~n", [[K || {K, _} <- hd(Tables)] =:= [K || {K, _} <- hd(Own)]]),
            io:format("~s~n", [lists:join(" ", [atom_to_list(proplists:get_value(name, X)) || X <- Tables])]),
            [io:format("~s ~0p~n", [Ctl(element(2, X)), element(5, X)]) || X <- element(9, Theirs)],""")
        assert got[:6] == ["true", "true", "{true,true}", "{true,true}", "[]", "true"], got[:8]
        assert set(got[6].split()) == {t["table"] for t in s.ctl("tables", "list", "1000")}, got[6]
        rows = dict(g.split(" ", 1) for g in got[7:])
        here = {a["pid"]: a for a in s.ctl("actors")}
        assert len(rows) == len(here) + 1 and set(here) < set(rows)  # and the connection that asked
        for pid, a in here.items():
            assert rows[pid].strip("'") == (a["name"] or "{%s,init,3}" % a["class"]), (pid, rows[pid], a)


def test_a_remote_shell_ends():
    "erl -remsh: the local shell says that there is none, and does not wait for anything; since OTP 26 it ends with that."
    with Epmd() as epmd, Murre(epmd) as s:
        master, slave = os.openpty()
        env = dict(os.environ, ERL_EPMD_PORT=str(epmd.port), TERM="xterm", HOME=os.environ.get("HOME", "/root"))
        p = subprocess.Popen([*rig.erlang("erl"), "-start_epmd", "false", "-name", "r@127.0.0.1", "-setcookie", COOKIE, "-kernel",
                              "inet_dist_use_interface", "{127,0,0,1}", "-remsh", ME], stdin=slave, stdout=slave, stderr=slave, env=env)
        os.close(slave)
        seen, end = b"", b"Shell process terminated" if rig.OTP < 26 else b'Could not load "murre@127.0.0.1" on shell (nofile)'
        try:
            while end not in seen:
                assert select.select([master], [], [], LIMIT)[0], seen
                seen += os.read(master, 4096)
        finally:
            p.kill()
            p.wait()
            os.close(master)
        assert s.event("mesh_up") == 1


def test_modules_and_functions():
    "Tools ask before they call: what is in the table of functions is there, and nothing else."
    with Epmd() as epmd, Murre(epmd, node__ticktime="30s"):
        got = asked(epmd, """
            [R(code, ensure_loaded, [M]) || M <- [observer_backend, shell]], [R(code, is_loaded, [M]) || M <- [lcnt, lists]],
            [R(erlang, module_loaded, [M]) || M <- [msacc, os]], [R(erlang, function_exported, [erlang, F, A]) || {F, A} <- [{nodes, 1}, {nodes, 2}, {halt, 0}]],
            R(net_kernel, get_net_ticktime, []),
            [{badrpc, {'EXIT', {badarg, _}}} = rpc:call(N, M, F, A) || {M, F, A} <- [{code, ensure_loaded, ["shell"]}, {code, is_loaded, [1]},
             {erlang, module_loaded, [{}]}, {erlang, function_exported, [erlang, nodes, -1]}, {erlang, function_exported, [1, 2, 3]}]],""")
        assert got == ["{module,observer_backend}", "{error,nofile}", "{file,preloaded}", "false", "true", "false", "true", "false", "false", "30"], got


def test_what_cannot_work_says_so():
    "Code, shells and commands: undef, with the function in it, as from a node that has not that module; and a spawned process ends with it."
    with Epmd() as epmd, Murre(epmd):
        got = asked(epmd, """
            [io:format("~0p~n", [rpc:call(N, M, F, A, 20000)]) || {M, F, A} <- [{os, cmd, ["ls"]}, {code, load_binary, [m, "m", <<1>>]}, {init, stop, []},
              {application, which_applications, []}, {shell, start, []}]],
            {P, X} = spawn_monitor(N, no, such, [1]), receive {'DOWN', X, process, P, Why} -> io:format("~0p~n", [Why]) end,
            process_flag(trap_exit, true), Q = spawn_link(N, no, such, []), receive {'EXIT', Q, Gone} -> io:format("~0p~n", [Gone]) end,
            io:format("~0p~n", [net_adm:ping(N)]),""")
        bad = lambda mfa: "{badrpc,{'EXIT',{undef,[{%s,[]}]}}}" % mfa
        assert got == [bad('os,cmd,["ls"]'), bad('code,load_binary,[m,"m",<<1>>]'), bad("init,stop,[]"), bad("application,which_applications,[]"),
                       bad("shell,start,[]"), "{undef,[{no,such,[1],[]}]}", "{undef,[{no,such,[],[]}]}", "pong"], got


def test_hostile_arguments():
    "Improper lists, wrong types, long lists: badarg, and the node goes on."
    with Epmd() as epmd, Murre(epmd) as s:
        got = asked(epmd, """
            P = rpc:call(N, erlang, whereis, [net_kernel]),
            Bad = fun(M, F, A) -> case catch erpc:call(N, M, F, A) of {'EXIT', {{exception, badarg, _}, _}} -> ok; Other -> io:format("~0p~n", [Other]) end end,
            [Bad(erlang, F, [X]) || F <- [process_info, is_process_alive, system_info, statistics, memory, node, nodes, whereis],
                                    X <- [{}, 1, <<>>, [a | b], [1, 2, 3], 1 bsl 100, #{}, "text", fun() -> ok end, {wordsize, nine}]],
            [Bad(erlang, process_info, [P, X]) || X <- [[links | links], lists:duplicate(100000, links), nope, [nope], "links", {links}]],
            [Bad(lcnt, rt_mask, [X]) || X <- [generic, [db], [generic | generic], "generic"]],
            [Bad(erlang, system_flag, [X, Y]) || {X, Y} <- [{multi_scheduling, block}, {microstate_accounting, perhaps}, {1, 2}]],
            io:format("~0p ~0p~n", [net_adm:ping(N), length(rpc:call(N, erlang, processes, [])) > 10]),""")
        assert got == ["pong true"], got
        assert "mesh_changed" not in {e["event"] for e in s.ctl("events")}


if __name__ == "__main__":
    rig.main(sys.modules["__main__"])
