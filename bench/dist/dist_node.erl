%% dist_node: what bench/dist/node.c is, for Erlang/OTP: the same commands, messages, checks and windows. Compiled before it is run.
-module(dist_node).
-export([start/0]).

start() ->
    ok = net_kernel:monitor_nodes(true, [{node_type, all}]),
    Me = self(),
    register(echo, spawn(fun echo/0)),
    register(sink, spawn(fun sink/0)),
    spawn_link(fun() -> commands(Me) end),
    io:format("ready~n"),
    serve().

serve() ->
    receive
        {nodeup, N, _} -> io:format("up ~s~n", [N]), serve();
        {nodedown, N, _} -> io:format("down ~s~n", [N]), serve();
        stop -> halt(0)
    end.

commands(Main) ->
    case io:get_line("") of
        eof -> Main ! stop;
        {error, _} -> Main ! stop;
        Line ->
            try obey(string:lexemes(string:trim(Line), " ")) catch _:Why -> io:format("failed ~0tp~n", [Why]) end,
            commands(Main)
    end.

obey(["connect", Node]) ->
    true = net_kernel:connect_node(list_to_atom(Node));
obey(["flood", Node | Numbers]) ->
    [Senders, Count, Size, Window] = [list_to_integer(X) || X <- Numbers],
    Me = self(),
    Bytes = binary:copy(<<0>>, Size),
    All = [spawn_monitor(fun() -> sender(Me, list_to_atom(Node), Count, Bytes, Window) end) || _ <- lists:seq(1, Senders)],
    [receive {ready, P} -> ok; {'DOWN', M, process, P, Why} -> exit(Why) end || {P, M} <- All],
    Begun = erlang:monotonic_time(nanosecond),
    [P ! go || {P, _} <- All],
    [receive {'DOWN', M, process, P, normal} -> ok; {'DOWN', _, process, _, Why} when Why =/= normal -> exit(Why) end || {P, M} <- All],
    io:format("flooded ~b~n", [erlang:monotonic_time(nanosecond) - Begun]);
obey(["ping", Node, Count]) ->
    N = list_to_integer(Count),
    report("pinged", timed(N, {echo, list_to_atom(Node)}, []), N);
obey(["call", Node, Count]) ->
    N = list_to_integer(Count),
    report("called", [elapsed(fun() -> x = gen_server:call({echo, list_to_atom(Node)}, x, 60000) end) || _ <- lists:seq(1, N)], N);
obey(["rpc", Node, Callers, Count]) ->
    calls("rpced", fun(To) -> To = rpc:call(To, erlang, node, [], 60000) end, Node, Callers, Count);
obey(["erpc", Node, Callers, Count]) ->
    calls("erpced", fun(To) -> To = erpc:call(To, erlang, node, [], 60000) end, Node, Callers, Count).

calls(What, Call, Node, Callers, Count) ->
    To = list_to_atom(Node),
    N = list_to_integer(Count),
    Begun = erlang:monotonic_time(nanosecond),
    All = [spawn_monitor(fun() -> exit({took, [elapsed(fun() -> Call(To) end) || _ <- lists:seq(1, N)]}) end)
           || _ <- lists:seq(1, list_to_integer(Callers))],
    Took = lists:append([receive {'DOWN', M, process, P, {took, L}} -> L; {'DOWN', M, process, P, Why} -> exit(Why) end || {P, M} <- All]),
    All_took = erlang:monotonic_time(nanosecond) - Begun,
    io:format("~s ~b ~s~n", [What, All_took, percentiles(Took, length(Took))]).

elapsed(F) ->
    T = erlang:monotonic_time(nanosecond),
    F(),
    erlang:monotonic_time(nanosecond) - T.

report(What, Took, N) -> io:format("~s ~s~n", [What, percentiles(Took, N)]).

percentiles(Took, N) ->
    S = list_to_tuple(lists:sort(Took)),
    io_lib:format("~b ~b ~b", [element(N div 2 + 1, S), element(N * 99 div 100 + 1, S), element(N, S)]).

timed(0, _, Took) -> Took;
timed(N, To, Took) ->
    T = erlang:monotonic_time(nanosecond),
    To ! {ping, self()},
    receive pong -> ok after 60000 -> exit(no_pong) end,
    timed(N - 1, To, [erlang:monotonic_time(nanosecond) - T | Took]).

echo() ->
    receive
        {ping, P} -> P ! pong;
        {'$gen_call', From, What} -> gen_server:reply(From, What)
    end,
    echo().

sink() ->
    receive
        {start, Sender, Count, Size, Every} ->
            spawn(fun() -> Sender ! {ready, self()}, receiver(Sender, Count, Size, Every, 1) end),
            sink()
    end.

receiver(Sender, Count, Size, Every, N) ->
    receive
        {N, Bytes} when byte_size(Bytes) =:= Size ->
            N rem Every =:= 0 andalso (Sender ! {had, N}),
            if N =:= Count -> Sender ! {had, N}; true -> receiver(Sender, Count, Size, Every, N + 1) end;
        Other -> exit({wrong, N, Other})
    end.

sender(Main, Node, Count, Bytes, Window) ->
    {sink, Node} ! {start, self(), Count, byte_size(Bytes), Window div 4},
    Receiver = receive {ready, P} -> P after 60000 -> exit(no_receiver) end,
    M = monitor(process, Receiver),
    Main ! {ready, self()},
    receive go -> ok end,
    send(Receiver, M, 1, 0, Count, Bytes, Window).

send(_, _, _, Count, Count, _, _) -> ok;
send(R, M, N, Had, Count, Bytes, Window) when N =< Count, N - Had =< Window ->
    R ! {N, Bytes},
    send(R, M, N + 1, Had, Count, Bytes, Window);
send(R, M, N, Had, Count, Bytes, Window) ->
    receive
        {had, More} -> send(R, M, N, max(Had, More), Count, Bytes, Window);
        {'DOWN', M, process, R, Why} -> await(Had, Count, Why)
    end.

%% A receiver ends when it has had all, and what it said before came before its end.
await(Count, Count, _) -> ok;
await(Had, Count, Why) -> exit({the_receiver_has_ended, Had, Count, Why}).
