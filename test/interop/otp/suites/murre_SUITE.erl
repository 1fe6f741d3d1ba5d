%% murre_SUITE: a cluster of OTP and murre nodes, mixed at random, under Common Test. MURRE is the program; MURRE_SEED=a,b,c repeats a mix, which each run
%% prints. Every node, of whichever kind, is started and controlled by OTP's peer over a line of its own, so that what is asked of it does not
%% depend on the cluster that is looked at.
-module(murre_SUITE).
-include_lib("common_test/include/ct.hrl").
-export([all/0, suite/0, init_per_testcase/2, end_per_testcase/2]).
-export([everybody_sees_everybody/1, groups_are_the_same_everywhere/1, names_are_the_same_everywhere/1, a_node_that_ends_is_gone_everywhere/1,
         links_and_monitors_cross/1, messages_by_the_line/1]).

suite() -> [{timetrap, {minutes, 2}}].
all() -> [everybody_sees_everybody, groups_are_the_same_everywhere, names_are_the_same_everywhere, a_node_that_ends_is_gone_everywhere,
          links_and_monitors_cross, messages_by_the_line].

-record(n, {kind, name, peer}).

%% --- the cluster: at least one of each kind, and up to three more

init_per_testcase(_, Config) ->
    Seed = case os:getenv("MURRE_SEED") of
               false -> {erlang:phash2(make_ref()), erlang:system_time(), erlang:unique_integer([positive])};
               Text -> list_to_tuple([list_to_integer(S) || S <- string:lexemes(Text, ",")])
           end,
    ct:pal("MURRE_SEED=~w,~w,~w", tuple_to_list(Seed)),
    rand:seed(exsss, Seed),
    More = [lists:nth(rand:uniform(2), [otp, murre]) || _ <- lists:seq(1, rand:uniform(4) - 1)],
    Kinds = [Kind || {_, Kind} <- lists:sort([{rand:uniform(), Kind} || Kind <- [otp, murre | More]])],
    Nodes = lists:foldl(fun(Kind, Started) -> Started ++ [start(Kind, kind(murre, Started))] end, [], Kinds),
    ct:pal("~p", [[{N#n.kind, N#n.name} || N <- Nodes]]),
    [{nodes, Nodes} | Config].

end_per_testcase(_, Config) -> [catch peer:stop(N#n.peer) || N <- ?config(nodes, Config)].

%% global introduces nodes to each other, which OTP nodes then connect to; a murre node connects to those that it is told.
start(Kind, Murre) ->
    Options = #{name => peer:random_name(Kind), host => "127.0.0.1", connection => lists:nth(rand:uniform(2), [standard_io, 0]), wait_boot => 60000},
    Exec = case Kind of
               murre -> #{exec => {os:getenv("MURRE"), ["peer"]}, args => ["--set", "node.seeds=" ++ string:join([atom_to_list(N#n.name) || N <- Murre], ",")]};
               otp -> #{args => ["-kernel", "inet_dist_use_interface", "{127,0,0,1}", "-kernel", "start_pg", "true"]}
           end,
    {ok, Peer, Name} = peer:start_link(maps:merge(Options, Exec)),
    #n{kind = Kind, name = Name, peer = Peer}.

call(#n{peer = Peer}, M, F, A) -> peer:call(Peer, M, F, A, 30000).
kind(Kind, Nodes) -> [N || N <- Nodes, N#n.kind =:= Kind].

%% The first OTP node connects to all; global introduces the others to each other. The node of Common Test stays outside.
connect(Config) ->
    Nodes = ?config(nodes, Config),
    [First | _] = kind(otp, Nodes),
    [true = call(First, net_kernel, connect_node, [N#n.name]) || N <- Nodes, N =/= First],
    Nodes.

%% Asks again until it is so: nothing tells of what another node has learned.
until(What, Ask) -> until(What, Ask, erlang:monotonic_time(second) + 60).
until(What, Ask, End) ->
    case catch Ask() of
        true -> ok;
        Other ->
            case erlang:monotonic_time(second) > End of
                true -> ct:fail({never, What, Other});
                false -> receive after 20 -> until(What, Ask, End) end
            end
    end.

others(N, Nodes) -> lists:sort([X#n.name || X <- Nodes, X =/= N]).
see_each_other(Nodes) ->
    [until({N#n.name, sees}, fun() -> Got = lists:sort(call(N, erlang, nodes, [])), Got =:= others(N, Nodes) orelse Got end) || N <- Nodes].

%% A process on an OTP node that does nothing.
process(N) -> call(N, erlang, spawn, [timer, sleep, [infinity]]).

%% --- cases

everybody_sees_everybody(Config) -> see_each_other(connect(Config)).

groups_are_the_same_everywhere(Config) ->
    Nodes = connect(Config),
    see_each_other(Nodes),
    Ps = [process(N) || N <- kind(otp, Nodes)] ++ [call(N, erlang, whereis, [net_kernel]) || N <- kind(murre, Nodes)],
    [ok = call(N, pg, join, [{a, group}, P]) || P <- Ps, N <- Nodes, N#n.name =:= node(P)],
    Same = fun(Group, Want) ->
               [until({N#n.name, Group}, fun() -> Got = lists:sort(call(N, pg, get_members, [Group])), Got =:= lists:sort(Want) orelse Got end) || N <- Nodes]
           end,
    Same({a, group}, Ps),
    Same(murre, [call(N, erlang, whereis, [net_kernel]) || N <- kind(murre, Nodes)]),
    [true = lists:member({a, group}, call(N, pg, which_groups, [])) || N <- Nodes],
    [P | Rest] = Ps,
    [ok = call(N, pg, leave, [{a, group}, P]) || N <- Nodes, N#n.name =:= node(P)],
    Same({a, group}, Rest),
    [begin Want = [X || X <- Rest, node(X) =:= N#n.name], Want = call(N, pg, get_local_members, [{a, group}]) end || N <- Nodes].

names_are_the_same_everywhere(Config) ->
    Nodes = connect(Config),
    see_each_other(Nodes),
    Ps = [{{name, I}, N, process(N)} || {I, N} <- lists:zip(lists:seq(1, length(kind(otp, Nodes))), kind(otp, Nodes))],
    [yes = call(N, global, register_name, [Name, P]) || {Name, N, P} <- Ps],
    [until({N#n.name, Name}, fun() -> call(N, global, whereis_name, [Name]) =:= P end) || N <- Nodes, {Name, _, P} <- Ps],
    [until(N#n.name, fun() -> lists:sort(call(N, global, registered_names, [])) =:= lists:sort([Name || {Name, _, _} <- Ps]) end) || N <- Nodes],
    [true = call(N, erlang, exit, [P, kill]) || {_, N, P} <- Ps],
    [until({N#n.name, Name, gone}, fun() -> call(N, global, whereis_name, [Name]) =:= undefined end) || N <- Nodes, {Name, _, _} <- Ps].

a_node_that_ends_is_gone_everywhere(Config) ->
    Nodes = connect(Config),
    see_each_other(Nodes),
    Kind = lists:nth(rand:uniform(2), [otp, murre]),
    Victim = lists:last(case kind(Kind, Nodes) of [_] when Kind =:= otp -> kind(murre, Nodes); Some -> Some end), % one OTP node is who connected all
    unlink(Victim#n.peer),
    case rand:uniform(3) of
        1 -> peer:stop(Victim#n.peer);
        2 -> peer:cast(Victim#n.peer, init, stop, []);
        3 -> peer:cast(Victim#n.peer, erlang, halt, [])
    end,
    Rest = [N || N <- Nodes, N =/= Victim],
    see_each_other(Rest),
    Murre = [call(N, erlang, whereis, [net_kernel]) || N <- kind(murre, Rest)],
    [until(N#n.name, fun() -> Got = lists:sort(call(N, pg, get_members, [murre])), Got =:= lists:sort(Murre) orelse Got end) || N <- Rest].

%% Monitors of and links to a process of a murre node end with the node, with noconnection.
links_and_monitors_cross(Config) ->
    Nodes = connect(Config),
    [Murre | _] = kind(murre, Nodes),
    Watched = call(Murre, erlang, whereis, [net_kernel]),
    true = net_kernel:connect_node(Murre#n.name),
    Ref = monitor(process, Watched),
    process_flag(trap_exit, true),
    link(Watched),
    unlink(Murre#n.peer),
    ok = peer:stop(Murre#n.peer),
    receive {'DOWN', Ref, process, Watched, noconnection} -> ok end,
    receive {'EXIT', Watched, noconnection} -> ok end.

%% peer:send reaches processes of this suite's node through the murre node, and nobody is told of a name that is not there.
messages_by_the_line(Config) ->
    Nodes = connect(Config),
    [Murre | _] = kind(murre, Nodes),
    true = net_kernel:connect_node(Murre#n.name),
    until(connected, fun() -> lists:member(node(), call(Murre, erlang, nodes, [])) end),
    register(murre_suite, self()),
    ok = peer:send(Murre#n.peer, self(), {hello, 1}),
    ok = peer:send(Murre#n.peer, {murre_suite, node()}, {hello, 2}),
    ok = peer:send(Murre#n.peer, no_such_name, lost),
    receive {hello, 1} -> ok end,
    receive {hello, 2} -> ok end,
    {sent, back} = call(Murre, erlang, send, [self(), {sent, back}]),
    receive {sent, back} -> ok end,
    {badarg, _} = try call(Murre, erlang, send, [no_such_name, x]) catch error:E -> {E, ok} end,
    {undef, [{erlang, spawn, [timer, sleep, [infinity]], []} | _]} = try call(Murre, erlang, spawn, [timer, sleep, [infinity]]) catch error:U:Stack -> {U, Stack} end,
    {started, started} = call(Murre, init, get_status, []).
